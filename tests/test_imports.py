"""The direction of imports, held by reading the source: who may import whom, and which library belongs where."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Layer of each module or package of the harness; a module imports only from its own layer or a lower one.
LAYERS = {
    "version": 0, "errors": 0, "files": 1, "typed_json": 1, "arrays": 2, "toml_files": 2, "registry": 1, "skeletons": 1,
    "datasets": 2,
    "boxes": 3, "clips": 3, "predictions": 3, "proposals": 3, "similarity": 3, "suppression": 4, "tracks": 4,
    "video": 4, "methods": 4, "grouping": 4, "codecs": 5, "weights": 4, "scoring": 4,
    "inference": 6, "training": 7, "records": 5, "environment": 6, "results": 6, "verify": 7,
    "people": 7, "request": 7, "reopen": 7, "doctor": 7, "opening": 8, "evidence": 8, "running": 9,
    "lifting": 8, "report": 8, "evaluate": 10, "probes": 11, "cli": 12,
}  # fmt: skip

#: Library -> the places that may import it.
ONLY_IN = {
    "torch": (
        "harness/codecs",
        "harness/grouping",
        "harness/inference",
        "harness/lifting",
        "harness/training",
        "harness/probes",
        "harness/weights",
        "baselines",
    ),
    "click": ("harness/cli",),
    "matplotlib": ("harness/report",),
    "seaborn": ("harness/report",),
    "xtcocotools": ("harness/scoring/oks.py",),
}


def sources() -> list[Path]:
    return sorted(path for folder in ("harness", "baselines") for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path, *, at_run_time: bool = True) -> list[str]:
    """Dotted names of the modules a file imports; blocks under TYPE_CHECKING do not count at run time."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and at_run_time:
            skipped.update(child for statement in node.body for child in ast.walk(statement))
    names = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names if node.module in ("harness", "baselines")]
    return names


def layer_name(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 and not parts[1].startswith("_") else None


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    relative = path.relative_to(ROOT)
    if (
        relative.parts[0] != "harness"
        or len(relative.parts) < 2
        or (relative.stem.startswith("__") and len(relative.parts) == 2)
    ):
        return
    own = relative.parts[1].removesuffix(".py")
    assert own in LAYERS, f"{relative}: give '{own}' a layer in this test and in the design"
    for dotted in imported(path):
        other = layer_name(dotted)
        if other in (None, own) or other not in LAYERS:
            continue
        assert LAYERS[other] < LAYERS[own], f"{relative} imports harness.{other}, which is not below it"


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").rglob("*.py")), ids=lambda path: path.stem)
def test_no_method_needs_another(path: Path) -> None:
    """What methods share lies in baselines/layers; only the package itself names them all."""
    if path.parent == ROOT / "baselines" and path.name == "__init__.py":
        return
    own = {f"baselines.{other.stem}" for other in (ROOT / "baselines").glob("*.py") if other.stem != "__init__"}
    assert own.isdisjoint(imported(path)), f"{path.name} needs another method's file"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_place(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    for dotted in imported(path):
        library = dotted.split(".")[0]
        if library in ONLY_IN:
            assert relative.startswith(ONLY_IN[library]), f"{relative} imports {library}"
        if relative.startswith("harness/"):
            assert library != "baselines", f"{relative} names the wrapped methods; they register themselves"
