"""harness report study: questions in, answers with intervals out."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import data_root_option
from harness.cli.output import note
from harness.results import Results

__all__ = ["study"]


@click.command("study")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page; by default FILE with .md instead.")
@click.option("--missing-ok", is_flag=True, help="Leave out arms that have no runs yet, and say so.")
@data_root_option
@click.option("--results", type=click.Path(path_type=Path), multiple=True, default=("results",), show_default=True,
              help="Folder where records are read from; may be given more than once.")  # fmt: skip
def study(file: Path, output: Path | None, missing_ok: bool, data_root: Path | None, results: tuple[Path, ...]) -> None:
    """Answer the questions of FILE (TOML) from stored runs: yes, no or not shown, with intervals.

    Beside the page a folder of its name gets a forest plot per question and differences.csv. The format is
    in the head of harness/report/studies.py; reports/ holds an example.
    """
    from harness.report.studies import read_study
    from harness.report.study_answers import answer_study
    from harness.report.study_page import write_study
    from harness.report.study_runs import DrawStore

    asked = read_study(file)
    scans = [Results(folder).scan() for folder in results]
    for problem in (problem for _, problems in scans for problem in problems):
        note(f"skipped: {problem.message}")
    runs = [run for found, _ in scans for run in found]
    found = answer_study(asked, runs, DrawStore(data_root=data_root), missing_ok=missing_ok)
    for answer in found.answers:
        said = ", ".join(f"{asked.title_of(arm)}: {verdict}" for arm, verdict in answer.verdicts.items())
        click.echo(f"{answer.question.ask}\n  {said or 'not run yet'}")
    for path in write_study(found, output or file.with_suffix(".md")):
        note(f"wrote {path}")
