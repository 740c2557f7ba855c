"""The documentation: generated parts are up to date, the site builds without a warning, what it shows runs."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import harness
from harness.cli import VERBS, cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md"))
OTHERS = [ROOT / name for name in ("results/README.md", "reports/README.md", "docs/example_method/README.md")]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, list[str], bool]]:
    """Page, words, and whether it stands in a block, of every `harness ...` line; one in the text may be a part."""
    found = []
    for page in (*PAGES, *OTHERS):
        text = re.sub(r"\\\n\s+", "", page.read_text())
        whole = re.findall(r"^ {4,}(harness [a-z].+)$", text, flags=re.MULTILINE)
        parts = re.findall(r"`(harness [a-z][^`]+)`", text)
        usage = re.compile(r"\[OPTIONS\]")
        name = str(page.relative_to(ROOT))
        found += [(name, line, True) for line in whole if not usage.search(line)]
        found += [(name, line, False) for line in parts if "..." not in line]
    return [(page, shlex.split(line, comments=True)[1:], whole) for page, line, whole in found]


def test_generated_parts_are_up_to_date(generate: ModuleType) -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in generate.generated() if path.read_text() != text]
    assert not stale, "run `make docs`"


def test_the_reference_names_every_verb_and_option(generate: ModuleType) -> None:
    page = (DOCS / "cli.md").read_text()
    assert all(f"## harness {verb}\n" in page for verb in VERBS)
    for words, command in generate.commands():
        section = re.split(rf"^#+ harness {re.escape(' '.join(words))}$", page, flags=re.MULTILINE)[1]
        for option in (name for item in command.params for name in item.opts if name.startswith("--")):
            assert option in re.split(r"^#", section, flags=re.MULTILINE)[0], (words, option)


def test_a_stale_page_is_found(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("before\n<!-- generated: part -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "WHOLE", {})
    monkeypatch.setattr(generate, "MARKED", {("page.md", "part"): lambda: "new"})
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit, match="stale"):
        generate.main()
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generate.main()
    assert (tmp_path / "page.md").read_text() == "before\n<!-- generated: part -->\n\nnew\n\n<!-- end -->\nafter\n"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in PAGES} <= {path.stem for path in (tmp_path / "site").glob("*.html")}
    page = (tmp_path / "site" / "metrics.html").read_text()
    assert "http://fonts" not in page and "https://fonts" not in page


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in (*PAGES, *OTHERS)])
def test_commands_are_understood(page: str) -> None:
    for words in [words for name, words, _ in commands() if name == page]:
        command, rest, name = cli.get_command(None, words[0]), words[1:], words[0]
        while hasattr(command, "commands") and rest:
            command, name, rest = command.commands[rest[0]], rest[0], rest[1:]
        known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= known, words
        if (page, words, True) in commands():
            command.make_context(name, list(rest))  # raises for an argument or a value that cannot be


def test_code_runs(own_cache: Path, tmp_path: Path) -> None:
    code = [block for page in PAGES for block in blocks(page.read_text())]
    assert len(code) >= 7
    (tmp_path / "results").symlink_to(ROOT / "results")
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(code))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "HARNESS_CACHE": str(own_cache), "OMP_NUM_THREADS": "1",
             "PYTHONPATH": str(Path(harness.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_places_that_are_named_exist() -> None:
    for page in PAGES:
        if page.name in ("cli.md", "methods.md"):
            continue
        for name in re.findall(r"`((?:docs|harness|reports|results|benchmarks|tests)/[\w/.]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
