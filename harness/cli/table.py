"""harness table: stored runs beside each other, and beside what was published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import data_root_option, format_option, results_option
from harness.cli.output import emit_rows, note
from harness.errors import CheckError, UsageError, listed
from harness.results import Results, StoredRun

if TYPE_CHECKING:
    from harness.records import RunRecord
    from harness.report import Table

__all__ = ["chosen_runs", "command"]

Build = Callable[[Sequence["RunRecord"]], "list[Table]"]


@click.command("table")
@click.argument("runs", nargs=-1)
@click.option("--metric", default="ap", show_default=True, help="Which metric of the records to compare.")
@click.option("--slice", "slice_name", default="all", show_default=True, help="On which slice of the truth.")
@click.option("--by-slice", is_flag=True, help="One row per bin of every slice, one column per run.")
@click.option("--by-joint", is_flag=True, help="One row per joint, one column per run.")
@click.option("--cost", is_flag=True, help="What every run costs: size, multiply-adds, speed, seconds by stage.")
@click.option("--against", metavar="RUN", help="Differences from this run, with intervals and stars.")
@click.option("--paper", metavar="NAME", help="A published table beside the runs, as fami-pt17-val; list names all.")
@click.option("--verify", is_flag=True, help="Recompute every score from the stored predictions; exit code 5 on drift.")
@data_root_option
@results_option
@format_option("table", "markdown", "latex", "html", "csv", "json")
def command(
    runs: tuple[str, ...], metric: str, slice_name: str, by_slice: bool, by_joint: bool, cost: bool,
    against: str | None, paper: str | None, verify: bool, data_root: Path | None, results: Path, style: str,
) -> None:  # fmt: skip
    """Print a comparison of stored runs (all of them by default), ranked only where they are comparable.

    RUNS are ids, starts of ids, or names of methods.
    """
    from harness import report
    from harness.report.comparable import by_ground

    asked = {"--by-slice": by_slice, "--by-joint": by_joint, "--cost": cost, "--against": against, "--paper": paper}
    if len(given := [name for name, value in asked.items() if value]) > 1:
        raise UsageError(f"{listed(given)} ask for different tables; give one of them")
    if paper == "list":
        _list_papers(style)
        return
    if against is not None:
        _print([_against(against, runs, slice_name, data_root, results)], style)
        return

    def build(records: Sequence[RunRecord]) -> list[Table]:
        grounds = by_ground(records).values()
        if by_slice:
            return [report.by_slice(same, metric=metric) for same in grounds]
        if by_joint:
            return [report.by_joint(same, metric=metric, slice=slice_name) for same in grounds]
        if cost:
            return [report.cost_table(records)]
        if paper:
            return [report.paper_table(paper, records)]
        return [report.leaderboard(records, metric=metric, slice=slice_name)]

    stored = Results(results).scan()[0] if paper and not runs else chosen_runs(runs, results)
    tables = build([run.record for run in stored])
    _print(tables, style)
    if verify:
        _verify(stored, tables, build, data_root)


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
        note(f"probed runs left out: {len(runs) - len(plain)}; `harness report probes` shows them")
    return plain


def _print(tables: Sequence[Table], style: str) -> None:
    from harness.report import render

    click.echo("\n".join(render(table, style) for table in tables).rstrip("\n"))


def _list_papers(style: str) -> None:
    from harness.report.paper import paper_names

    form = {"html": "markdown"}.get(style, style)
    emit_rows([{"name": name, "table": title} for name, title in paper_names().items()], form)


def _against(reference: str, runs: tuple[str, ...], slice_name: str, data_root: Path | None, results: Path) -> Table:
    """Every other run on the reference's ground minus the reference."""
    from harness.cli.compare import pair
    from harness.report.comparable import ground_of
    from harness.report.difference_tables import against
    from harness.scoring.comparison import compare

    first = Results(results).one(reference)
    ground = ground_of(first.record)
    others = [run for run in chosen_runs(runs, results) if ground_of(run.record) == ground and run.id != first.id]
    parts = [run for run in others if run.record.partial != first.record.partial]
    if parts:
        note(f"left out, of other sequences than {first.id}: {listed([run.id for run in parts])}")
        others = [run for run in others if run not in parts]
    if not others:
        raise UsageError(f"no other run stands on the ground of {first.id}: {ground}")
    found = {}
    for run in others:
        dataset, predictions = pair(first, run, data_root)
        found[run.id] = compare(dataset, *predictions, slices=dict.fromkeys(("all", _slice_of(slice_name))))
    return against(first.record, [run.record for run in others], found, slice=slice_name)


def _slice_of(label: str) -> str:
    return label.rpartition(":")[0] or label


def _verify(stored: Sequence[StoredRun], tables: Sequence[Table], build: Build, data_root: Path | None) -> None:
    """Build the tables again from scores recomputed of the stored predictions; CheckError names cells that differ."""
    from harness.report.drift import drift, rescored

    again = build([rescored(run, data_root) for run in stored])
    cells, changed = drift(tables, again)
    if changed:
        raise CheckError(
            f"{len(changed)} of {cells} cells are not what the stored predictions give: {listed(changed, limit=4)}; "
            "`harness verify` says which file changed"
        )
    note(f"verified: {cells} cells of {len(stored)} runs, recomputed from the stored predictions")
