"""The built wheel: weights and types are in it, tests and results are not, and it works installed on its own."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if name.startswith(("harness/", "baselines/", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), str(source)],
        check=True,
    )
    return next(out.glob("*.whl"))


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("harness/py.typed", "baselines/weights/manifest.toml", "baselines/weights/mean_pose.safetensors"):
        assert wanted in names
    page = {name.rpartition("/")[2] for name in names if name.startswith("harness/report/page/templates/")}
    assert page >= {"page.html.jinja", "page.css", "theatre.js"}
    assert {name.split("/")[0] for name in names} == {
        "harness",
        "baselines",
        f"{wheel.name.rsplit('-py3', 1)[0]}.dist-info",
    }
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "harness.plugins" in zipfile.ZipFile(wheel).read(entry_points).decode()


def test_it_works_installed_alone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(site), str(wheel)], check=True
    )
    script = (
        "import harness, baselines; from harness.cli import run; from harness.files import sha256_of;"
        "from harness.weights import weights;"
        f"assert harness.__file__.startswith({str(site)!r}), harness.__file__;"
        "assert all(sha256_of(weights[name].path) == weights[name].sha256 for name in weights);"
        "raise SystemExit(run(['methods', 'show', 'hrnet']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "HRNet (hrnet)" in done.stdout
