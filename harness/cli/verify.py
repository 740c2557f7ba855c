"""harness verify: are stored runs what they say?"""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import data_root_option, results_option
from harness.errors import CheckError, DataError, UsageError
from harness.results import Problem, Results, StoredRun
from harness.verify import Finding, Verification

__all__ = ["command"]


@click.command("verify")
@click.argument("runs", nargs=-1)
@data_root_option
@click.option("--weights", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A weights file of your own that a run names. Repeatable.")  # fmt: skip
@results_option
def command(runs: tuple[str, ...], data_root: Path | None, weights: tuple[Path, ...], results: Path) -> None:
    """Recompute hashes and scores of stored runs (all by default); exit code 5 when anything changed.

    What is embedded, shipped or named here, and is gone or cannot be read, counts as changed. A data root is named
    for the runs on data sets whose labels lie in it.
    """
    from harness.evidence import Evidence

    store = Results(results)
    stored, problems = _chosen(runs, store)
    evidence = Evidence(stored, store=store, root=data_root, weights=weights)
    if not problems:  # among which may be the run that is meant
        evidence.check_weights()
    checked = [_unreadable(problem) for problem in problems]
    checked += [evidence.verify(run) for run in stored]
    for outcome in checked:
        answer = "CHANGED" if not outcome.sound else "partly" if outcome.partly else "ok"
        click.echo(f"{answer:<8} {outcome.run}  checked {', '.join(outcome.checked)}")
        for finding in outcome.findings:
            click.echo(f"         {finding}")
        for skipped in outcome.skipped:
            click.echo(f"         not checked: {skipped}")
    changed = [outcome.run for outcome in checked if not outcome.sound]
    if changed:
        raise CheckError(f"{len(changed)} of {len(checked)} runs are not what they say: {', '.join(changed)}")


def _chosen(words: tuple[str, ...], store: Results) -> tuple[list[StoredRun], list[Problem]]:
    """The runs that the words name, each once, or all, probed ones too; and those without a record that can be read."""
    if not words:
        runs, problems = store.scan()
        problems += store.recordless()
        if not runs and not problems:
            raise UsageError(f"{store.root} holds no runs; `harness eval` makes one")
        return runs, problems
    found: dict[str, StoredRun] = {}
    problems = []
    for word in words:
        try:
            found |= {str(run.folder): run for run in store.find(word)}
        except DataError as problem:
            problems.append(Problem(Path(word), str(problem)))
    return list(found.values()), problems


def _unreadable(problem: Problem) -> Verification:
    return Verification(problem.folder.name, ("record",), (), (Finding("record", problem.message),))
