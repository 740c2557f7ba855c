"""The known troubles: a rule each, from the facts to a sentence and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.doctor.facts import Facts, Loaded
from harness.errors import listed
from harness.registry import PLUGIN_GROUP

__all__ = ["RULES", "Finding", "examine"]

PINNED = "pip install -c constraints.txt"

#: Below the first a run is likely to fail, below the second it may (bytes free).
SCARCE, LITTLE = 500 * 10**6, 5 * 10**9


@dataclass(frozen=True)
class Finding:
    """What was found, and `remedy`, what to do about it; `level` "ok", "note" (slow, lacking or worth knowing) or "FIX"
    (a run fails, or gives other numbers)."""

    level: str
    text: str
    remedy: str = ""


Rule = Callable[[Facts], Iterator[Finding]]


def examine(facts: Facts) -> list[Finding]:
    """The findings of every rule, in the order of `RULES`.

    Nothing is looked up here, so that each trouble can be tried with facts that nobody has.
    """
    return [finding for rule in RULES for finding in rule(facts)]


def python(facts: Facts) -> Iterator[Finding]:
    """The wheels of xtcocotools exist for 3.11."""
    if facts.machine.python != (3, 11):
        found = ".".join(map(str, facts.machine.python))
        yield Finding("FIX", f"Python {found}: 3.11 is needed, which xtcocotools has wheels for",
                      "make clean && make PYTHON=python3.11 eval")  # fmt: skip


def numbers(facts: Facts) -> Iterator[Finding]:
    """numpy and what is compiled against it."""
    numpy = facts.modules["numpy"]
    if numpy.version is None:
        yield Finding("FIX", f"numpy does not import ({_why(numpy)})", f"{PINNED} --force-reinstall numpy")
        return
    for module, name, other in (("scipy.stats", "scipy", ""), ("pandas", "pandas", ""),
                                ("pyarrow.parquet", "pyarrow", " 'pyarrow<23'")):  # fmt: skip
        loaded = facts.modules[module]
        if loaded.version is None:
            yield Finding("FIX", f"{name} does not import beside numpy {numpy.version} ({_why(loaded)})",
                          f"{PINNED} numpy{other or ' ' + name}")  # fmt: skip
    yield Finding("ok", f"numpy {numpy.version}")


def oks(facts: Facts) -> Iterator[Finding]:
    """The wheels of xtcocotools are built against numpy 1."""
    found, numpy = facts.modules["xtcocotools._mask"], facts.modules["numpy"].version
    if found.version is not None:
        yield Finding("ok", f"xtcocotools loads with numpy {numpy}")
    else:
        yield Finding("FIX", f"xtcocotools does not load with numpy {numpy} ({_why(found)}): no OKS AP",
                      f"{PINNED} numpy xtcocotools; or, to keep numpy 2 and with a compiler: "
                      "pip install --force-reinstall --no-deps --no-binary xtcocotools xtcocotools")  # fmt: skip


def opencv(facts: Facts) -> Iterator[Finding]:
    """Version 5 crops differently; two distributions of it overwrite each other; only headless needs no display."""
    found = facts.modules["cv2"]
    if len(facts.opencv) > 1:
        yield Finding("FIX", f"{' and '.join(facts.opencv)} overwrite each other's files",
                      f"pip uninstall -y {' '.join(facts.opencv)} && {PINNED} opencv-python-headless")  # fmt: skip
    if found.version is None:
        yield Finding("FIX", f"OpenCV does not import ({_why(found)})",
                      f"pip uninstall -y opencv-python opencv-contrib-python; {PINNED} opencv-python-headless"
                      if "libGL" in (found.error or "") else f"{PINNED} opencv-python-headless")  # fmt: skip
    elif int(found.version.split(".")[0]) >= 5:
        yield Finding("FIX", f"OpenCV {found.version} crops otherwise than version 4: numbers are not comparable",
                      "pip install 'opencv-python-headless<5'")  # fmt: skip
    else:
        yield Finding("ok", f"OpenCV {found.version}")


def torch(facts: Facts) -> Iterator[Finding]:
    """torch, and whether it sees the GPU that the machine has."""
    found, machine = facts.modules["torch"], facts.machine
    if found.version is None:
        yield Finding("FIX", f"torch does not import ({_why(found)})", f"{PINNED} torch")
        return
    gpus = list(found.details.get("gpus", ()))
    yield Finding("ok", f"torch {found.version}, {', '.join(gpus) or 'CPU only'}")
    if gpus or machine.nvidia_driver is None:
        return
    if machine.visible_gpus is not None and machine.visible_gpus.strip() in ("", "-1"):
        yield Finding(
            "note", f"CUDA_VISIBLE_DEVICES={machine.visible_gpus!r} hides the GPUs", "unset CUDA_VISIBLE_DEVICES"
        )
    elif found.details.get("cuda_build") is None:
        yield Finding("note", "there is an NVIDIA driver, but this torch is built for the CPU alone",
                      f"pip install --force-reinstall torch=={found.version.partition('+')[0]} --index-url INDEX, the "
                      "one that pytorch.org names for your CUDA")  # fmt: skip
    else:
        yield Finding("note", f"torch is built for CUDA {found.details['cuda_build']} and sees no GPU with the driver "
                      f"'{machine.nvidia_driver}'", "nvidia-smi says what the driver allows: update it, or install a "
                      "torch built for an older CUDA; in a container, start it with --gpus all")  # fmt: skip


def torchvision(facts: Facts) -> Iterator[Finding]:
    """It is not needed; where its operators load, deformable convolutions are faster."""
    found = facts.modules["torchvision"]
    if found.version is not None:
        yield Finding("ok", f"torchvision {found.version}: its deformable convolution is used")
    elif not found.absent:
        yield Finding("note", f"torchvision is installed but its operators do not load ({_why(found)}); plain torch is "
                      "used instead: equal numbers, slower", "install the torchvision of this torch, from the same "
                      "index; or pip uninstall torchvision")  # fmt: skip


def extras(facts: Facts) -> Iterator[Finding]:
    """What some verbs need."""
    for module, name, extra, what in (
        ("av", "PyAV", "video", "videos of your own cannot be read or written"),
        ("onnxruntime", "onnxruntime", "onnx", "exported models cannot be run"),
    ):
        found = facts.modules[module]
        if found.version is not None:
            yield Finding("ok", f"{name} {found.version}")
        else:
            yield Finding("note", f"{what} without {name} ({_why(found)})", f"pip install 'vidpose-harness[{extra}]'")


def threads(facts: Facts) -> Iterator[Finding]:
    """More computing threads than cores get into each other's way."""
    machine = facts.machine
    used = facts.modules["torch"].details.get("threads")
    asked = machine.threads if machine.threads is not None else used
    if asked is not None and asked > machine.cores:
        where = "OMP_NUM_THREADS asks" if machine.threads is not None else "torch asks"
        yield Finding("note", f"{where} for {asked} threads, this process may use {machine.cores} core(s): slower, "
                      "often by several times", f"export OMP_NUM_THREADS={machine.cores}")  # fmt: skip
    elif asked is not None:
        yield Finding("ok", f"{asked} computing thread(s) on {machine.cores} core(s)")


def encoding(facts: Facts) -> Iterator[Finding]:
    """Labels, names and progress bars are UTF-8."""
    if facts.machine.encoding.replace("-", "") != "utf8":
        yield Finding("FIX", f"the locale's encoding is {facts.machine.encoding}: names of files and people may not "
                      "be read or printed", "export LC_ALL=C.UTF-8   (or PYTHONUTF8=1)")  # fmt: skip


def cache(facts: Facts) -> Iterator[Finding]:
    """Where the embedded data set is, or will be."""
    store = facts.cache
    if not store.writable:
        yield Finding("FIX", f"{store.path} cannot be written: the embedded data set has no place",
                      "export HARNESS_CACHE=DIR, a folder with 1 GB of room")  # fmt: skip
    elif "standard val" not in store.held:
        yield Finding("note", f"{store.path} holds no val split of synthtrack yet: the first evaluation draws it, "
                      "which takes some minutes", "harness data make")  # fmt: skip
    else:
        yield Finding("ok", f"embedded data: {', '.join(store.held)}")


def disk(facts: Facts) -> Iterator[Finding]:
    """Room for data and results."""
    if not facts.results.writable:
        yield Finding("FIX", f"{facts.results.path.absolute()} cannot be written: no run can be stored",
                      "harness eval --results DIR, or export HARNESS_RESULTS=DIR")  # fmt: skip
    for store, variable in ((facts.cache, "HARNESS_CACHE"), (facts.results, "HARNESS_RESULTS")):
        if store.free < LITTLE:
            level = "FIX" if store.free < SCARCE else "note"
            yield Finding(level, f"{store.free / 1e9:.1f} GB left on the disk of {store.path}",
                          f"make room, or export {variable}=DIR on another disk")  # fmt: skip


def records(facts: Facts) -> Iterator[Finding]:
    """Records that cannot be read, and those of other versions."""
    for message in facts.unreadable[:3]:
        yield Finding("note", message, "remove that folder, or make the run again with `harness eval`")
    others = {version: count for version, count in facts.versions.items() if version != facts.harness}
    if others:
        said = ", ".join(f"{count} of version {version}" for version, count in sorted(others.items()))
        yield Finding("note", f"{facts.results.path} holds runs of other versions than {facts.harness}: {said}. "
                      "They are shown, and the same request runs again", "harness verify: do they hold?")  # fmt: skip


def plugins(facts: Facts) -> Iterator[Finding]:
    """Packages register methods when they are installed."""
    if facts.plugin_error is not None:
        yield Finding("FIX", f"a package of the entry point {PLUGIN_GROUP} does not import ({facts.plugin_error})",
                      "mend or uninstall that package; python -c 'import NAME' says more")  # fmt: skip
    elif facts.methods:
        yield Finding("ok", f"{len(facts.methods)} methods: {', '.join(facts.methods)}")
    elif facts.modules["torch"].version is not None:
        yield Finding("FIX", f"no package registers methods (entry point {PLUGIN_GROUP})",
                      "pip install -e . in the checkout")  # fmt: skip


def options(facts: Facts) -> Iterator[Finding]:
    """Variables that stand for options are easily forgotten."""
    if facts.options:
        said = listed([f"{name}={value}" for name, value in facts.options.items()], limit=6)
        yield Finding("note", f"these stand for options that are not given: {said}", "unset what you did not mean")


def _why(loaded: Loaded) -> str:
    return loaded.error or "not installed"


#: In the order of reading: what everything stands on first.
RULES: tuple[Rule, ...] = (
    python, numbers, oks, opencv, torch, torchvision, extras, threads, encoding, cache, disk, records, plugins, options,
)  # fmt: skip
