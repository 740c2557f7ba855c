"""Every command of the README runs, in order, as it stands; those on data one has to fetch are at least understood."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import VERBS, cli
from harness.results import Results
from harness.verify import verify

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[list[str]]:
    """The words of every `harness ...` line in an indented block, continuation lines joined, comments dropped."""
    text = re.sub(r"\\\n\s+", "", README)
    lines = re.findall(r"^ {4,}(harness .+)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def needs_own_data(words: list[str]) -> bool:
    return any("DIR" in word for word in words)


def test_every_verb_is_in_the_readme() -> None:
    assert {words[0] for words in commands()} >= set(VERBS) - {"doctor"}


def test_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    from harness import errors

    for kind in (errors.UsageError, errors.DataError, errors.WeightsError, errors.CheckError, errors.HarnessError):
        assert f"\n| {kind.exit_code} |" in README
    row = next(line for line in README.splitlines() if line.startswith("| ") and "`weights check`" in line)
    assert row.startswith(f"| {errors.WeightsError.exit_code} |")


def test_table_is_the_one_the_reference_records_give() -> None:
    from harness.report import leaderboard, render

    runs, problems = Results(ROOT / "results" / "reference").scan()
    assert not problems
    shown = [run.record for run in runs if run.record.dataset.name == "synthtrack" and not run.record.partial]
    rendered = render(leaderboard(shown), "markdown")
    rows = [line for line in rendered.splitlines() if line.startswith("|")]
    printed = README.split("<!-- generated: table -->")[1].split("<!-- end -->")[0]
    assert len(rows) >= 6 and printed.strip().splitlines() == rows, "stale: run `make reports`"
    for run in runs:
        assert run.record.environment.commit and "dirty" not in run.record.environment.commit
        assert verify(run).sound


@pytest.mark.parametrize("words", [words for words in commands() if needs_own_data(words)], ids=" ".join)
def test_commands_on_data_to_fetch_are_understood(words: list[str]) -> None:
    command = cli.get_command(None, words[0])
    rest = words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], rest)  # raises for an option or argument that does not exist


def test_commands_run_as_they_stand(harness, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"HARNESS_DATASET": "synthtrack-smoke", "OMP_NUM_THREADS": "1"}
    settings |= {"HARNESS_TRAIN_THREADS": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    shorter = {"--minutes": "0.02", "--steps": "2"}
    for place, words in enumerate(words for words in commands() if not needs_own_data(words)):
        monkeypatch.delenv("HARNESS_TRAIN_MINUTES", raising=False)
        if not {"--steps", "--epochs"} & set(words):  # one budget; ten minutes are too long here
            monkeypatch.setenv("HARNESS_TRAIN_MINUTES", "0.02")
        words = [shorter.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        if place == 0:  # the first as a user starts it; importing torch for every one would take minutes
            done = subprocess.run(
                [sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        else:
            answer = harness(*words)
            assert answer.code == 0, f"harness {' '.join(words)}\n{answer.err}"
