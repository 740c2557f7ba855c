"""The example package of docs/ is installed as a third party would, and runs without a change to the harness."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "example_method"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory, smoke_val: Path):
    """Run the command line in a process that sees the package, installed in a folder of its own."""
    folder = tmp_path_factory.mktemp("third_party")
    source = shutil.copytree(EXAMPLE, folder / "source")  # a build leaves files beside it
    install = ["install", "--no-deps", "--no-build-isolation", "-q", "--target", str(folder / "site"), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_short() -> None:
    code = [EXAMPLE / name for name in ("setup.cfg", "pyproject.toml", "two_frames.py")]
    assert sum(len(path.read_text().splitlines()) for path in code) < 60


def test_its_name_is_known_only_where_it_is_installed(call) -> None:
    listed = json.loads(call("methods", "list", "--format", "json"))
    assert "two_frames" in {row["name"] for row in listed}
    assert "t t-1" in call("methods", "show", "two_frames")
    here = [sys.executable, "-c", "from harness.methods import methods; print('two_frames' in methods)"]
    assert subprocess.run(here, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_it_is_trained_and_evaluated_like_any_other(call) -> None:
    smoke = ("--dataset", "synthtrack-smoke")
    train = ("train", "--method", "two_frames", *smoke, "--steps", "2", "--batch-size", "4", "-o", "trained")
    weights = call(*train, "--device", "cpu", "--threads", "1").strip()
    answer = call(
        "eval", "--method", "two_frames", *smoke, "--split", "val", "--weights", weights, "--device", "cpu",
        "--no-plots", "--no-floor", "--format", "csv",
    )  # fmt: skip
    assert "Two frames" in answer
    assert "synthtrack-smoke" in answer
