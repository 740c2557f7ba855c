"""harness verify: are stored runs what they say?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import data_root_option, results_option
from harness.cli.output import note
from harness.cli.table import chosen_runs
from harness.errors import CheckError, DataError
from harness.results import StoredRun
from harness.verify import Verification

__all__ = ["command"]


@click.command("verify")
@click.argument("runs", nargs=-1)
@data_root_option
@results_option
def command(runs: tuple[str, ...], data_root: Path | None, results: Path) -> None:
    """Recompute hashes and scores of stored runs (all by default); exit code 5 when anything changed."""
    checked = [_verified(run, data_root) for run in chosen_runs(runs, results)]
    for outcome in checked:
        click.echo(f"{'ok' if outcome.sound else 'CHANGED':<8} {outcome.run}  checked {', '.join(outcome.checked)}")
        for finding in outcome.findings:
            click.echo(f"         {finding}")
        for skipped in outcome.skipped:
            click.echo(f"         not checked: {skipped}")
    changed = [outcome.run for outcome in checked if not outcome.sound]
    if changed:
        raise CheckError(f"{len(changed)} of {len(checked)} runs are not what they say: {', '.join(changed)}")


def _verified(run: StoredRun, data_root: Path | None) -> Verification:
    from harness.reopen import images_now, reopen, rescorer, weights_path
    from harness.verify import verify

    try:
        dataset = reopen(run.record, data_root)
    except DataError as problem:
        note(f"{run.id}: {problem}")
        dataset = None
    return verify(
        run, rescore=rescorer(dataset) if dataset else None, weights=weights_path(run.record),
        fingerprint=dataset.fingerprint if dataset else None,
        images=images_now(run.record, dataset, run.predictions_path) if dataset else None,
    )  # fmt: skip
