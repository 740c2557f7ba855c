"""harness runs: what the results store holds."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import format_option, results_option
from harness.cli.output import emit_json, emit_rows, note
from harness.results import Results, StoredRun

__all__ = ["command"]


@click.group("runs")
def command() -> None:
    """List the stored runs, or show one."""


@command.command("list")
@results_option
@format_option("table", "json", "csv", "markdown")
def list_runs(results: Path, style: str) -> None:
    """List every stored run; files that cannot be read are named on stderr."""
    runs, problems = Results(results).scan()
    for problem in problems:
        note(f"skipped: {problem.message}")
    if not runs and style == "table":
        note(f"{results} holds no runs; `harness eval` makes one")
        return
    emit_rows([_row(run) for run in runs], style)


@command.command("show")
@click.argument("run")
@results_option
@format_option("table", "json", "csv", "markdown", "latex")
def show_run(run: str, results: Path, style: str) -> None:
    """Show one run, per joint; RUN is an id, its start, or the name of a method that ran once."""
    from harness.report import per_joint, render

    stored = Results(results).one(run)
    if style == "json":
        emit_json(stored.document)
        return
    click.echo(render(per_joint(stored.record), style).rstrip("\n"))
    note(f"record: {stored.folder / 'record.json'}")


def _row(run: StoredRun) -> dict[str, object]:
    record = run.record
    mean = record.table.groups().get("Total")
    return {
        "run": run.id, "label": record.label, "data": f"{record.dataset.name} {record.dataset.split}",
        "boxes": record.boxes.source,
        "AP": "" if mean is None else round(mean, 1), "created": record.created,
        "partial": record.partial.reason if record.partial else "",
    }  # fmt: skip
