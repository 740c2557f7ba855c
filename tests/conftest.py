"""Every test run makes its embedded data in a cache of its own, shared by its workers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import run


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "harness-cache"
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("HARNESS_")}
    os.environ["HARNESS_CACHE"] = str(cache)
    yield cache
    del os.environ["HARNESS_CACHE"]
    os.environ.update(before)


@pytest.fixture(scope="session")
def smoke_val(own_cache: Path) -> Path:
    """Root of the validation split of synthtrack-smoke: a folder in PoseTrack21 layout."""
    from harness.datasets import datasets

    prepare = datasets["synthtrack-smoke"].prepare
    assert prepare is not None
    return prepare("val")


class Answer:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def harness(capfd: pytest.CaptureFixture[str]):
    """Run the command line in this process: `harness("eval", "--method", "hrnet")` -> Answer."""

    def call(*arguments: object) -> Answer:
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call
