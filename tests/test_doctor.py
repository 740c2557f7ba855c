"""Every known trouble is found in facts that show it, with its remedy; this environment has none that stops a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.doctor import RULES, Facts, Finding, Loaded, Machine, Store, examine
from harness.doctor.probe import PROBED

GOOD = {
    "numpy": Loaded("1.26.4"),
    "scipy.stats": Loaded("1.17.1"),
    "pandas": Loaded("3.0.6"),
    "pyarrow.parquet": Loaded("22.0.0"),
    "cv2": Loaded("4.11.0"),
    "xtcocotools._mask": Loaded(""),
    "torch": Loaded("2.13.0+cpu", details={"threads": 4, "cuda_build": None, "gpus": []}),
    "torchvision": Loaded(),
    "av": Loaded("18.1.0"),
    "onnxruntime": Loaded("1.31.1"),
}
DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54"


def facts(
    machine: dict[str, object] | None = None, modules: dict[str, Loaded] | None = None, **others: object
) -> Facts:
    sound = Machine(python=(3, 11), platform="Python 3.11.7 on Linux x86_64", cores=4)
    store = Store(Path("somewhere"), True, 10**11, ("standard val",))
    base = Facts(replace(sound, **(machine or {})), GOOD | (modules or {}), store, store, ("hrnet",), harness="0.2.0")
    return replace(base, **others)


def troubles(case: Facts) -> list[Finding]:
    return [finding for finding in examine(case) if finding.level != "ok"]


def torch_with(**details: object) -> dict[str, Loaded]:
    return {"torch": Loaded("2.13.0", details={"threads": 4, "cuda_build": None, "gpus": [], **details})}


def full(free: int) -> Store:
    return Store(Path("results"), True, free)


CASES = {
    "python": (facts({"python": (3, 12)}), "FIX", "Python 3.12", "PYTHON=python3.11"),
    "numpy 2 beside the wheel of xtcocotools": (
        facts(modules={"xtcocotools._mask": Loaded(error="ValueError: numpy.dtype size changed")}),
        "FIX", "numpy.dtype size changed", "--no-binary xtcocotools",
    ),
    "pyarrow refuses numpy": (
        facts(modules={"pyarrow.parquet": Loaded(error="ImportError: numpy 2 needed")}),
        "FIX", "pyarrow does not import beside numpy 1.26.4", "pyarrow<23",
    ),
    "scipy gone": (facts(modules={"scipy.stats": Loaded()}), "FIX", "scipy does not import", "numpy scipy"),
    "numpy broken": (facts(modules={"numpy": Loaded(error="ImportError: no")}), "FIX", "numpy does not", "numpy"),
    "OpenCV 5": (facts(modules={"cv2": Loaded("5.0.0")}), "FIX", "OpenCV 5.0.0 crops otherwise", "headless<5"),
    "OpenCV without a display": (
        facts(modules={"cv2": Loaded(error="ImportError: libGL.so.1: cannot open shared object file")}),
        "FIX", "libGL", "opencv-python-headless",
    ),
    "two OpenCVs": (
        facts(opencv=("opencv-python", "opencv-python-headless")),
        "FIX", "overwrite each other", "pip uninstall -y opencv-python opencv-python-headless",
    ),
    "torch broken": (facts(modules={"torch": Loaded(error="OSError: libtorch")}), "FIX", "libtorch", "torch"),
    "torch for the CPU on a machine with a GPU": (
        facts({"nvidia_driver": DRIVER}), "note", "built for the CPU alone", "torch==2.13.0 --index-url",
    ),
    "torch too new for the driver": (
        facts({"nvidia_driver": DRIVER}, torch_with(cuda_build="13.0")),
        "note", "CUDA 13.0 and sees no GPU", "nvidia-smi",
    ),
    "GPUs hidden": (
        facts({"nvidia_driver": DRIVER, "visible_gpus": ""}, torch_with(cuda_build="12.6")),
        "note", "hides the GPUs", "unset CUDA_VISIBLE_DEVICES",
    ),
    "torchvision of another torch": (
        facts(modules={"torchvision": Loaded(error="RuntimeError: operator torchvision::nms does not exist")}),
        "note", "plain torch is used", "uninstall torchvision",
    ),
    "no PyAV": (facts(modules={"av": Loaded()}), "note", "without PyAV", "vidpose-harness[video]"),
    "no onnxruntime": (facts(modules={"onnxruntime": Loaded()}), "note", "exported models", "vidpose-harness[onnx]"),
    "too many threads asked for": (facts({"threads": 64}), "note", "OMP_NUM_THREADS asks for 64", "OMP_NUM_THREADS=4"),
    "too many threads in a container": (
        facts({"cores": 2}, torch_with(threads=32)), "note", "torch asks for 32 threads", "OMP_NUM_THREADS=2",
    ),
    "locale": (facts({"encoding": "ansi_x3.4-1968"}), "FIX", "ansi_x3.4-1968", "LC_ALL=C.UTF-8"),
    "no embedded data": (
        facts(cache=Store(Path("cache"), True, 10**11)), "note", "no val split of synthtrack", "harness data make",
    ),
    "cache cannot be written": (
        facts(cache=Store(Path("/full/cache"), False, 10**11)), "FIX", "/full/cache cannot be written", "HARNESS_CACHE",
    ),
    "results cannot be written": (
        facts(results=Store(Path("/results"), False, 10**11)), "FIX", "/results cannot be written", "--results DIR",
    ),
    "little room": (facts(results=full(3 * 10**9)), "note", "3.0 GB left", "HARNESS_RESULTS"),
    "no room": (facts(results=full(10**8)), "FIX", "0.1 GB left", "make room"),
    "records of another version": (
        facts(versions={"0.1.0": 3, "0.2.0": 1}), "note", "3 of version 0.1.0", "harness verify",
    ),
    "records that cannot be read": (
        facts(unreadable=("a/record.json: not valid JSON (...)",)), "note", "a/record.json", "make the run again",
    ),
    "broken plugin": (
        facts(methods=(), plugin_error="ModuleNotFoundError: No module named 'mine'"), "FIX", "mine", "uninstall",
    ),
    "no methods": (facts(methods=()), "FIX", "no package registers methods", "pip install -e ."),
    "forgotten variables": (
        facts(options={"HARNESS_DATASET": "synthtrack-smoke"}), "note", "HARNESS_DATASET=synthtrack-smoke", "unset",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_trouble_is_found_with_its_remedy(name: str) -> None:
    case, level, said, remedy = CASES[name]
    found = troubles(case)
    assert len(found) == 1, found
    assert found[0].level == level and said in found[0].text and remedy in found[0].remedy


def test_a_sound_environment_has_nothing_to_fix() -> None:
    assert troubles(facts()) == []
    gpu = facts({"nvidia_driver": DRIVER}, torch_with(cuda_build="12.6", gpus=["H100"]))
    assert troubles(gpu) == [] and any("H100" in finding.text for finding in examine(gpu))


def test_every_rule_has_a_case_that_it_finds() -> None:
    spoken = {
        rule.__name__ for rule in RULES for case, *_ in CASES.values() if any(f.level != "ok" for f in rule(case))
    }
    assert spoken == {rule.__name__ for rule in RULES}


def test_here(harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    bad = tmp_path / "data" / "val" / "run"
    bad.mkdir(parents=True)
    (bad / "record.json").write_text("{")
    answer = harness("doctor", "--results", tmp_path, "--format", "json")
    said = json.loads(answer.out)
    assert set(said["facts"]["modules"]) == set(PROBED)
    assert said["facts"]["modules"]["numpy"]["version"] and "hrnet" in said["facts"]["methods"]
    assert [finding for finding in said["findings"] if str(bad) in finding["text"]]
    assert answer.code == (5 if any(finding["level"] == "FIX" for finding in said["findings"]) else 0)


def test_a_module_that_ends_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.doctor import facts as module

    class Died:
        stdout = "\n".join(
            (
                '{"module": "numpy", "begun": true}',
                '{"module": "numpy", "version": "2"}',
                '{"module": "cv2", "begun": true}',
            )
        )
        returncode = -11

    monkeypatch.setattr(module.subprocess, "run", lambda *arguments, **options: Died)
    found = module._modules()
    assert found["numpy"].version == "2" and "exit code -11" in (found["cv2"].error or "")


def test_words_reach_the_user(harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.doctor.gather", lambda results: facts({"python": (3, 13)}))
    answer = harness("doctor")
    assert answer.code == 5 and "-> make clean" in answer.out and "1 thing to fix" in answer.err
