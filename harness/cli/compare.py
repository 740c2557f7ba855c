"""harness compare: is one run really better than another?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import data_root_option, format_option, results_option
from harness.cli.output import emit_json, emit_rows, note
from harness.errors import CheckError, DataError, UsageError
from harness.results import Results, StoredRun

__all__ = ["command", "pair"]


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--slice", "slices", multiple=True, help="A slice as well as all joints; repeatable (all: every one).")
@click.option("--joints", is_flag=True, help="A row per joint instead of per group.")
@data_root_option
@click.option("--replicates", type=click.IntRange(100), default=2000, show_default=True, help="Bootstrap draws.")
@click.option("--permutations", type=click.IntRange(100), default=10_000, show_default=True, help="Random swaps.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--gate", is_flag=True, help="Exit code 5 if B is worse than A over all joints.")
@results_option
@format_option("table", "json", "csv", "markdown", "latex", "html")
def command(
    a: str, b: str, slices: tuple[str, ...], joints: bool, data_root: Path | None, gate: bool, results: Path,
    style: str, **options: Any,
) -> None:  # fmt: skip
    """Compare stored runs A (the reference) and B on the same data: B - A per joint group and slice.

    Intervals are paired bootstraps over whole sequences, p values permutations of whole sequences, corrected by Holm
    within the table. "not shown" means that this data set cannot tell.
    """
    from harness.report import compared, render
    from harness.report.comparable import ground_of, grounds_apart
    from harness.scoring.comparison import compare
    from harness.scoring.slices import slice_named
    from harness.scoring.slices import slices as known

    store = Results(results)
    first, second = store.one(a), store.one(b)
    wanted = list(known) if "all" in slices else list(slices)
    for name in wanted:
        slice_named(name)
    dataset, predictions = pair(first, second, data_root)
    found = compare(dataset, *predictions, slices=("all", *wanted), **options)
    records = (first.record, second.record)
    apart = grounds_apart(records) if style in ("json", "csv") else ""  # tables say it themselves
    for warning in filter(None, (*found.warnings, apart)):
        note(f"note: {warning}")
    if style == "json":
        grounds = [str(ground_of(record)) for record in records]
        emit_json({
            "a": first.id, "b": second.id, "facts": {**found.facts, "grounds": grounds}, "rows": found.to_rows(),
        })  # fmt: skip
    elif style == "csv":
        emit_rows(found.to_rows(), style)
    else:
        click.echo(render(compared(found, records, joints=joints), style).rstrip("\n"))
        if style in ("table", "markdown"):
            click.echo("\n" + found.row().sentence)
    if gate and found.row().verdict == "worse":
        raise CheckError(f"{second.id} is worse than {first.id}: {found.row().sentence}")


def pair(first: StoredRun, second: StoredRun, root: Path | None) -> tuple[Any, tuple[Any, Any]]:
    """The common data set and the predictions of both runs; refuses runs on different data."""
    from harness.predictions import read_parquet
    from harness.reopen import reopen, same_sequences

    one, other = first.record.dataset, second.record.dataset
    if (one.name, one.split, one.fingerprint) != (other.name, other.split, other.fingerprint):
        names = f"{first.id} ({one.name} {one.split}) and {second.id} ({other.name} {other.split})"
        raise UsageError(f"{names} are runs on different data; compare runs on the same labels")
    dataset = reopen(first.record, root)
    if dataset is None:
        raise DataError(f"data set {one.name} is not at hand; give --data-root DIR")
    if dataset.fingerprint != one.fingerprint:
        raise DataError(f"{dataset.root}: its labels are not those of the runs (fingerprint {dataset.fingerprint})")
    path, other_path = first.stored_predictions(), second.stored_predictions()
    predictions = read_parquet(path)
    return same_sequences(dataset, predictions, path), (predictions, read_parquet(other_path))
