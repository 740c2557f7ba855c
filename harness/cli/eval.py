"""harness eval: the main job. Predictions, scores, a record, the table and the plots, from one command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import (
    OVERWRITE_RECORDS,
    data_options,
    format_option,
    overwrite_option,
    results_option,
    run_options,
)
from harness.cli.output import note, progress_bar
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.evaluate import Evaluated
    from harness.records import RunRecord
    from harness.request import Request

__all__ = ["command", "draw"]

#: The method every table shows: what a rule that looks at no pixel reaches.
FLOOR = "mean_pose"


@click.command("eval")
@click.option("--method", "names", multiple=True, required=True, help="A name of `harness methods list`; repeatable.")
@click.option("--also", type=click.Choice(["backbone"]),
              help="Also run, as its control, each video method's own backbone on the key frame.")  # fmt: skip
@data_options
@run_options
@overwrite_option(OVERWRITE_RECORDS)
@results_option
@click.option("--probe", help="Show the methods something else: one of `harness probe --list`, as key_blur=4.")
@click.option("--label", default="", help="What to call the runs in tables and studies; changes nothing else.")
@click.option("--floor/--no-floor", default=True, show_default=True, help=f"Also run {FLOOR}, which sees no pixel.")
@click.option("--plots/--no-plots", default=True, show_default=True, help="Draw the plots of the table.")
@format_option("table", "json", "csv", "markdown", "latex")
def command(
    names: tuple[str, ...], also: str | None, probe: str | None, results: Path, floor: bool, plots: bool, style: str,
    overwrite: str, **asked: Any,
) -> None:  # fmt: skip
    """Run methods on a data set: predictions, scores, record, table and plots.

    \b
    harness eval --method hrnet --split val
    harness eval --method hrnet --dataset posetrack18 --data-root DIR --boxes detections.json

    torchrun --nproc-per-node 8 -m harness eval --method hrnet --method fami --split val

    Several methods share one pass over the frames. The same command again is answered from the store; after an
    interruption it continues where it stopped.
    """
    from harness.evaluate import evaluate_together
    from harness.inference import join_ranks
    from harness.methods import methods
    from harness.report import by_slice, leaderboard, render
    from harness.report.comparable import by_ground, ground_of
    from harness.request import Request
    from harness.results import Results

    for name in names:
        methods[name]  # a wrong name is told before anything runs
    if probe is not None:
        from harness.probes import probe_named

        asked["probe"] = probe_named(probe)
    command = shlex.join(["harness", *sys.argv[1:]])
    ranks = join_ranks()
    with progress_bar(", ".join(names)) as report:
        requests = [Request(method=name, command=command, **asked) for name in dict.fromkeys(names)]
        if also:
            video = [request for request in requests if _is_video(request)]
            requests += [replace(request, outputs=also) for request in video]
        answers = evaluate_together(requests, Results(results), overwrite=overwrite, progress=report, ranks=ranks)
    if floor and FLOOR not in names and probe is None:
        own = {**asked, "label": "", "preset": None, "weights": None, "codec": None}
        try:
            answers += evaluate_together(
                [Request(method=FLOOR, command=command, **own)], Results(results), overwrite=overwrite, ranks=ranks
            )
        except HarnessError as problem:
            if ranks.size > 1:  # the others may not have failed, and would wait
                raise HarnessError(f"{FLOOR}, the floor of every table: {problem}; --no-floor leaves it out") from None
            note(f"without {FLOOR}, the floor of every table: {problem}")
    if not ranks.first:
        return
    for answer in answers:
        _tell(answer)
    runs = [answer.run for answer in answers]
    records = [run.record for run in runs]
    click.echo(render(leaderboard(records), style).rstrip("\n"))
    if style in ("table", "markdown"):
        for same in by_ground(records).values():
            click.echo("\n" + render(by_slice(same), style).rstrip("\n"))
    for warning in dict.fromkeys(text for run in runs for text in run.record.warnings):
        note(f"note: {warning}")
    for run in runs:
        note(f"record: {run.folder / 'record.json'}")
    if plots:
        # a figure shows runs of one ground; the floor, which needs boxes, may stand on another than whole frames
        asked_for = [record for record in records if record.method.name in names] or records
        for same in by_ground(asked_for).values():
            ground = [record for record in records if ground_of(record) == ground_of(same[0])]
            folder = next(run.folder for run in runs if run.id == same[0].id)
            for path in draw(ground, folder / "plots"):
                note(f"plot: {path}")


def _is_video(request: Request) -> bool:
    from harness.methods import card_of

    return len(card_of(request.method, request.weights).preset(request.preset)[1].support) > 1


def _tell(answer: Evaluated) -> None:
    note(f"{answer.run.id}: {'answered from the store' if answer.reused else 'done'}")
    found = answer.run.record.boxes
    if found.recall is not None:
        note(f"boxes: {found.count} from {found.source}; they find {found.recall:.1%} of the people (IoU 0.5)")


def draw(records: Sequence[RunRecord], folder: Path, *, metric: str = "ap") -> list[Path]:
    """Draw every figure that the records carry into a folder; the PNG files."""
    from harness.report import ap_against_speed, per_joint_bars, save

    paths = [save(per_joint_bars(records, metric=metric), folder / "per_joint")[1]]
    if any(record.cost.clips_per_second for record in records):
        paths.append(save(ap_against_speed(records, metric=metric), folder / "ap_against_speed")[1])
    return paths
