"""harness eval: the main job. Predictions, scores, a record, the table and the plots, from one command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from harness.cli.options import data_options, format_option, results_option, run_options
from harness.cli.output import note, progress_bar
from harness.errors import HarnessError

__all__ = ["command"]

#: The method every table shows: what a rule that looks at no pixel reaches.
FLOOR = "mean_pose"


@click.command("eval")
@click.option("--method", "names", multiple=True, required=True, help="A name of `harness methods list`; repeatable.")
@data_options
@run_options
@results_option
@click.option("--floor/--no-floor", default=True, show_default=True, help=f"Also run {FLOOR}, which sees no pixel.")
@click.option("--plots/--no-plots", default=True, show_default=True, help="Draw the plots of the table.")
@format_option("table", "json", "csv", "markdown", "latex")
def command(
    names: tuple[str, ...], results: Path, floor: bool, plots: bool, style: str, overwrite: bool, **asked: Any
) -> None:
    """Run methods on a data set: predictions, scores, record, table and plots.

    \b
    harness eval --method hrnet --split val
    harness eval --method hrnet --dataset posetrack18 --data-root DIR --boxes detections.json

    The same command again is answered from the store; after an interruption it continues where it stopped.
    """
    from harness.evaluate import evaluate
    from harness.methods import methods
    from harness.report import leaderboard, render
    from harness.request import Request
    from harness.results import Results

    for name in names:
        methods[name]  # a wrong name is told before anything runs
    wanted = [*dict.fromkeys(names), *([FLOOR] if floor and FLOOR not in names else [])]
    runs = []
    for name in wanted:
        own = asked if name in names else {**asked, "preset": None, "weights": None}
        request = Request(method=name, command=shlex.join(["harness", *sys.argv[1:]]), **own)
        with progress_bar(name) as report:
            try:
                answer = evaluate(request, Results(results), overwrite=overwrite, progress=lambda done, total: report(done, total, ""))
            except HarnessError:
                if name in names:
                    raise
                note(f"{name}, the floor of the table, is left out: it cannot run on these data")
                continue
        note(f"{answer.run.id}: {'answered from the store' if answer.reused else 'done'}")
        runs.append(answer.run)
    click.echo(render(leaderboard([run.record for run in runs]), style).rstrip("\n"))
    for warning in dict.fromkeys(text for run in runs for text in run.record.warnings):
        note(f"note: {warning}")
    for run in runs:
        note(f"record: {run.folder / 'record.json'}")
    if plots:
        _draw(runs)


def _draw(runs: list[Any]) -> None:
    from harness.report import ap_against_speed, per_joint_bars, save

    records = [run.record for run in runs]
    folder = runs[0].folder / "plots"
    for name, figure in (("per_joint", per_joint_bars(records)), ("ap_against_speed", ap_against_speed(records))):
        note(f"plot: {save(figure, folder / name)[1]}")
