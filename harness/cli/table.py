"""harness table: stored runs beside each other."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import format_option, results_option
from harness.cli.output import note
from harness.errors import UsageError
from harness.results import Results, StoredRun

__all__ = ["command"]


@click.command("table")
@click.argument("runs", nargs=-1)
@click.option("--metric", default="ap", show_default=True, help="Which metric of the records to compare.")
@click.option("--slice", "slice_name", default="all", show_default=True, help="On which slice of the truth.")
@click.option("--by-slice", is_flag=True, help="One row per bin of every slice, one column per run.")
@results_option
@format_option("table", "markdown", "latex", "csv", "json")
def command(runs: tuple[str, ...], metric: str, slice_name: str, by_slice: bool, results: Path, style: str) -> None:
    """Print a comparison of stored runs (all of them by default), ranked only where they are comparable.

    RUNS are ids, starts of ids, or names of methods.
    """
    from harness import report
    from harness.report.comparable import by_ground

    records = [run.record for run in chosen_runs(runs, results)]
    if by_slice:
        tables = [report.by_slice(same, metric=metric) for same in by_ground(records).values()]
    else:
        tables = [report.leaderboard(records, metric=metric, slice=slice_name)]
    click.echo("\n".join(report.render(table, style) for table in tables).rstrip("\n"))


def chosen_runs(words: tuple[str, ...], folder: Path, *, probed: bool = False) -> list[StoredRun]:
    """The runs that the words name, each once; for no words all readable ones, those that were probed only if asked."""
    store = Results(folder)
    if words:
        found = {str(run.folder): run for word in words for run in store.find(word)}
        return list(found.values())
    runs, problems = store.scan()
    for problem in problems:
        note(f"skipped: {problem.message}")
    if not runs:
        raise UsageError(f"{folder} holds no runs; `harness eval` makes one")
    plain = [run for run in runs if "probe" not in run.record.request]
    if probed or not plain:
        return runs
    if len(plain) < len(runs):
        note(f"{len(runs) - len(plain)} probed runs left out; `harness report probes` shows them")
    return plain
