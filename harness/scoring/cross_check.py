"""Cross-check against the poseval package, where the user has it installed: the same files through both evaluators.

Source: the package's own interface (`load_data_dir`, `evaluateAP`) as mmpose calls it; specification of poseval, 5.5.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.scoring.scores import TOTAL, Scores
from harness.skeletons import POSETRACK15

__all__ = ["check_installed", "poseval_differences", "run_poseval"]

METRICS = ("ap", "precision", "recall")

_INSTALL = "pip install 'vidpose-harness[poseval]' (a git address, on no registry)"

#: Runs in a process of its own: the package prints, and ends the process on some errors.
_SCRIPT = """
import json, sys
from poseval import eval_helpers
from poseval.evaluateAP import evaluateAP
truth, predictions = eval_helpers.load_data_dir(["", sys.argv[1], sys.argv[2]])
found = evaluateAP(truth, predictions, None, False, False)
print("\\n" + json.dumps([[float(value) for value in column.reshape(-1)] for column in found]))
"""


def check_installed() -> None:
    """Raise UsageError where the poseval package is missing."""
    if find_spec("poseval") is None:
        raise UsageError(f"--cross-check poseval needs the package: {_INSTALL}")


def run_poseval(truth: Path, predictions: Path) -> dict[str, dict[str, float]]:
    """AP, precision and recall (percent, joint names and "total") as the poseval package computes them.

    Both are folders of `.json` files. Raises UsageError where the package is missing, HarnessError where it fails.
    """
    check_installed()
    arguments = [f"{folder.resolve()}/" for folder in (truth, predictions)]
    done = subprocess.run([sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True)  # noqa: S603
    try:
        columns = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = (done.stderr or done.stdout).strip().splitlines()
        raise HarnessError(
            f"poseval failed on these files: {said[-1] if said else f'exit code {done.returncode}'}"
        ) from None
    names = (*POSETRACK15.names, TOTAL)
    return {metric: dict(zip(names, column, strict=True)) for metric, column in zip(METRICS, columns, strict=True)}


def poseval_differences(scores: Scores, found: dict[str, dict[str, float]]) -> list[tuple[str, str, float, float]]:
    """(metric, joint, ours, theirs) of every value that is not equal in every bit; NaN equals NaN."""
    pairs = [
        (metric, joint, scores.value(metric, joint=joint, protocol="poseval"), theirs)
        for metric, column in found.items()
        for joint, theirs in column.items()
    ]
    return [row for row in pairs if row[2] != row[3] and not (math.isnan(row[2]) and math.isnan(row[3]))]
