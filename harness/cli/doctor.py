"""harness doctor: what this environment is, and what to do about known trouble in it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

import click

from harness.environment import describe_environment
from harness.errors import CheckError
from harness.registry import PLUGIN_GROUP

__all__ = ["command"]

#: (level, sentence): "ok", "note" or "FIX".
Finding = tuple[str, str]


@click.command("doctor")
def command() -> None:
    """Explain this environment and name the fix for known trouble; exit code 5 when something must be fixed."""
    here = describe_environment()
    click.echo(f"Python {here.python} on {here.platform}, {here.cpu_count} cores")
    findings = [finding for check in _CHECKS for finding in check()]
    for level, text in findings:
        click.echo(f"{level:<5} {text}")
    broken = sum(level == "FIX" for level, _ in findings)
    if broken:
        raise CheckError(f"{broken} thing(s) to fix; the lines above say how")


def _python() -> Iterator[Finding]:
    running = sys.version_info[:2]
    if running != (3, 11):
        yield "FIX", "Python 3.11 is needed: the wheels of xtcocotools exist for it; make PYTHON=python3.11 eval"


def _torch() -> Iterator[Finding]:
    try:
        torch = importlib.import_module("torch")
        where = f"{torch.cuda.device_count()} GPU(s)" if torch.cuda.is_available() else "CPU only"
        yield "ok", f"torch {torch.__version__}, {where}, {torch.get_num_threads()} threads"
    except ImportError as problem:
        yield "FIX", f"torch does not import ({problem}); pip install -c constraints.txt torch"


def _opencv() -> Iterator[Finding]:
    found = importlib.import_module("cv2").__version__
    if int(found.split(".")[0]) >= 5:
        yield "FIX", f"OpenCV {found} crops differently; pip install 'opencv-python-headless<5'"
    else:
        yield "ok", f"OpenCV {found}"


def _xtcocotools() -> Iterator[Finding]:
    try:
        importlib.import_module("xtcocotools._mask")
        yield "ok", f"xtcocotools {version('xtcocotools')} with numpy {version('numpy')}"
    except (ImportError, ValueError) as problem:
        reason = str(problem).splitlines()[0]
        yield (
            "FIX",
            (
                f"xtcocotools does not load ({reason}); pip install -c constraints.txt numpy xtcocotools, or build it: "
                "pip install --no-binary xtcocotools xtcocotools"
            ),
        )


def _video() -> Iterator[Finding]:
    try:
        yield "ok", f"PyAV {importlib.import_module('av').__version__}"
    except ImportError:
        yield "note", "videos of your own cannot be read without PyAV; pip install 'vidpose-harness[video]'"


def _plugins() -> Iterator[Finding]:
    from harness.methods import methods

    names = list(methods)
    if names:
        yield "ok", f"{len(names)} methods: {', '.join(names)}"
    else:
        yield "FIX", f"no package registers methods (entry point {PLUGIN_GROUP}); pip install -e . in the checkout"


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _torch, _opencv, _xtcocotools, _video, _plugins)
