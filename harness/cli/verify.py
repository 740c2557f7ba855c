"""harness verify: are stored runs what they say?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import data_root_option, results_option
from harness.cli.output import note
from harness.errors import CheckError, DataError, HarnessError, UsageError
from harness.results import Problem, Results, StoredRun
from harness.verify import Finding, Verification

__all__ = ["command"]


@click.command("verify")
@click.argument("runs", nargs=-1)
@data_root_option
@click.option("--weights", multiple=True, type=click.Path(path_type=Path),
              help="A weights file of your own that a run names. Repeatable.")  # fmt: skip
@results_option
def command(runs: tuple[str, ...], data_root: Path | None, weights: tuple[Path, ...], results: Path) -> None:
    """Recompute hashes and scores of stored runs (all by default); exit code 5 when anything changed."""
    stored, problems = _chosen(runs, results)
    checked = [_unreadable(problem) for problem in problems]
    checked += [_verified(run, data_root, weights) for run in stored]
    for outcome in checked:
        click.echo(f"{'ok' if outcome.sound else 'CHANGED':<8} {outcome.run}  checked {', '.join(outcome.checked)}")
        for finding in outcome.findings:
            click.echo(f"         {finding}")
        for skipped in outcome.skipped:
            click.echo(f"         not checked: {skipped}")
    changed = [outcome.run for outcome in checked if not outcome.sound]
    if changed:
        raise CheckError(f"{len(changed)} of {len(checked)} runs are not what they say: {', '.join(changed)}")


def _chosen(words: tuple[str, ...], folder: Path) -> tuple[list[StoredRun], list[Problem]]:
    """The runs that the words name, each once, or all, probed ones too; and those whose record cannot be read."""
    store = Results(folder)
    if not words:
        runs, unreadable = store.scan()
        if not runs and not unreadable:
            raise UsageError(f"{folder} holds no runs; `harness eval` makes one")
        return runs, unreadable
    found: dict[str, StoredRun] = {}
    problems: list[Problem] = []
    for word in words:
        try:
            found |= {str(run.folder): run for run in store.find(word)}
        except DataError as problem:
            problems.append(Problem(Path(word), str(problem)))
    return list(found.values()), problems


def _unreadable(problem: Problem) -> Verification:
    return Verification(problem.folder.name, ("record",), (), (Finding("record", problem.message),))


def _verified(run: StoredRun, data_root: Path | None, weights: tuple[Path, ...]) -> Verification:
    from harness.reopen import images_now, reopen, rescorer, weights_path
    from harness.verify import verify

    try:
        dataset = reopen(run.record, data_root)
    except HarnessError as problem:
        note(f"{run.id}: {problem}")
        dataset = None
    return verify(
        run, rescore=rescorer(dataset) if dataset else None, weights=weights_path(run.record, weights),
        fingerprint=dataset.fingerprint if dataset else None,
        images=images_now(run.record, dataset, run.predictions_path) if dataset else None,
    )  # fmt: skip
