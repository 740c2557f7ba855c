"""harness score: prediction files against label files, as the official evaluators do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import format_option
from harness.cli.output import emit_json, emit_rows, note
from harness.datasets.layouts import Visibility
from harness.errors import CheckError, UsageError
from harness.predictions import Pairing

if TYPE_CHECKING:
    from harness.datasets import Sequence
    from harness.predictions import Predictions
    from harness.scoring import Scores

__all__ = ["command"]

OKS = "oks"

#: What may rank people: harness.scoring.oks.OksOptions.
PERSON_SCORES = ("joints", "person")

#: Column of the table of slices -> metric.
_SLICE_COLUMNS = {"AP": "ap", "recall": "recall", "PCKh of the matched": "pckh"}


@click.command("score")
@click.option("--truth", type=click.Path(path_type=Path), required=True,
              help="Folder of label files, one per sequence, in either PoseTrack layout.")  # fmt: skip
@click.option("--predictions", type=click.Path(path_type=Path), required=True,
              help="Folder of prediction files with the same names, in either layout.")  # fmt: skip
@click.option("--protocol", "protocols", multiple=True, default=("poseval",), show_default=True,
              help="poseval, posetrack21, oks, pck or temporal; repeatable.")  # fmt: skip
@click.option("--compat", type=click.Choice(["official", "fixed"]), default="official", show_default=True,
              help="Reproduce known faults of the official programs, or mend them.")  # fmt: skip
@click.option(
    "--tracking/--no-tracking", default=None, help="Also MOTA or HOTA; by default where everybody has a track."
)
@click.option("--oks-per-joint", is_flag=True, help="With --protocol oks: also the OKS AP of every joint alone.")
@click.option("--oks-rank-by", type=click.Choice(PERSON_SCORES), default="joints", show_default=True,
              help="With --protocol oks: people rank by the mean score of their joints, or by the `score` their file "
                   "gives the person, as whole-frame methods do.")  # fmt: skip
@click.option("--slice", "slices", multiple=True, help="AP on a slice; repeatable (all: every one).")
@click.option("--diagnose", is_flag=True, help="What goes wrong: jitter, inversion, swap, miss, ... per joint.")
@click.option("--intervals", is_flag=True, help="95 % intervals of AP, by drawing whole sequences 2000 times.")
@click.option("--per-sequence", is_flag=True, help="Also every sequence alone (JSON and CSV).")
@click.option("--visibility", type=click.Choice(["none", "is_visible", "zero", "two"]), default="is_visible",
              show_default=True, help="What the labels say of occlusion; `zero` is PoseTrack21's rule.")  # fmt: skip
@click.option("--pairing", type=click.Choice(["position", "id"]), default="position", show_default=True,
              help="Pair frames by their place in the file, as poseval does, or by image id.")  # fmt: skip
@click.option("--cross-check", type=click.Choice(["poseval"]), help="Run that package too and compare every value.")
@format_option("table", "json", "csv", "markdown", "latex")
def command(
    truth: Path, predictions: Path, protocols: tuple[str, ...], slices: tuple[str, ...], diagnose: bool,
    intervals: bool, visibility: Visibility, pairing: Pairing, cross_check: str | None, style: str, **options: Any,
) -> None:  # fmt: skip
    """Score prediction files against label files.

    AP, MOTA and HOTA are percent. JSON has `ap`, `precision` and `recall` by joint and `groups`, and `mot`, `hota`,
    `oks`, `slices`, `diagnosis` where asked for; NaN is null.
    """
    from harness.datasets.label_files import read_folder
    from harness.predictions import import_json
    from harness.scoring.protocols import protocols as known

    for name in protocols:
        known[name]
    if cross_check:
        _check_cross_checkable(protocols)
    sequences = read_folder(truth, visibility=visibility)
    found = import_json(predictions, sequences, pairing=pairing)
    scores = _scored(sequences, found, protocols, slices, intervals, **options)
    for warning in scores.warnings:
        note(f"note: {warning}")
    diagnosis = _diagnosed(sequences, found, options["compat"]) if diagnose else None
    _emit(scores, diagnosis, protocols, style)
    if cross_check:
        _cross_checked(truth, predictions, scores)


def _scored(
    sequences: tuple[Sequence, ...], predictions: Predictions, protocols: tuple[str, ...], slices: tuple[str, ...],
    intervals: bool, *, compat: str, tracking: bool | None, per_sequence: bool, oks_per_joint: bool,
    oks_rank_by: str,
) -> Scores:  # fmt: skip
    from harness.scoring import OksOptions, score, score_oks
    from harness.scoring.matched import match_run
    from harness.scoring.slices import score_slices
    from harness.scoring.slices import slices as known
    from harness.scoring.uncertainty import with_intervals

    options: dict[str, Any] = {"compat": compat, "tracking": tracking, "per_sequence": per_sequence}
    parts = [
        score(sequences, predictions, protocol=name, **options) for name in dict.fromkeys(protocols) if name != OKS
    ]
    if OKS in protocols:
        chosen = replace(OksOptions(), per_joint=oks_per_joint, person_score=oks_rank_by)
        parts.append(score_oks(sequences, predictions, **options, options=chosen))
    scores = sum(parts[1:], start=parts[0])
    if slices or intervals:
        matched = match_run(sequences, predictions, compat=compat)
        if slices:
            scores += score_slices(matched, known if "all" in slices else slices)
        if intervals:
            scores = with_intervals(scores, matched)
    return scores


def _diagnosed(sequences: tuple[Sequence, ...], predictions: Predictions, compat: str) -> Any:
    from harness.scoring.diagnosis import diagnose
    from harness.scoring.matched import match_run

    return diagnose(match_run(sequences, predictions, compat=compat))


def _emit(scores: Scores, diagnosis: Any, protocols: tuple[str, ...], style: str) -> None:
    from harness.scoring import scores_json
    from harness.scoring.diagnosis import diagnosis_json

    if style == "json":
        found = scores_json(scores) | {"facts": dict(scores.facts), "warnings": list(scores.warnings)}
        emit_json(found if diagnosis is None else found | {"diagnosis": diagnosis_json(diagnosis)})
        return
    if style == "csv":
        emit_rows((scores if diagnosis is None else scores + diagnosis.scores).rows, style)
        return
    for name in dict.fromkeys(protocols):
        _emit_protocol(scores.select(protocol=name), name, style)
    labels = dict.fromkeys(entry.slice for entry in scores.entries if entry.slice != "all")
    sliced = [label for label in labels if not label.startswith("sequence:")]
    if sliced:
        click.echo("\nAP by slice")
        emit_rows([_slice_row(scores, label) for label in sliced], style)
    if diagnosis is not None:
        click.echo("\nWhat goes wrong (percent of the labelled joints, by PCKh)")
        emit_rows(_diagnosis_rows(diagnosis.scores), style)
    facts = scores.facts
    if "frames" in facts:
        note(f"{facts['sequences']} sequences, {facts['frames']} evaluated frames, {facts['people']} people")


def _emit_protocol(scores: Scores, name: str, style: str) -> None:
    """One row per metric that every joint group has; the rest by total."""
    rows, totals = [], []
    for metric in dict.fromkeys(entry.metric for entry in scores.select(slice="all").entries):
        groups = scores.groups(metric)
        if len(groups) == 8:
            rows.append({name: metric, **{group: _shown(value) for group, value in groups.items()}})
        elif "Total" in groups:
            totals.append({name: metric, "Total": _shown(groups["Total"])})
    for table in (rows, totals):
        if table:
            emit_rows(table, style)
            click.echo()


def _slice_row(scores: Scores, label: str) -> dict[str, str]:
    own = {row.metric: row for row in scores.select(slice=label, joint="total").entries}
    ap = own.get("ap")
    interval = "" if ap is None or ap.low != ap.low else f"[{ap.low:.1f}, {ap.high:.1f}]"
    values = {name: _shown(own[metric].value) if metric in own else "" for name, metric in _SLICE_COLUMNS.items()}
    return {"slice": label, **values, "AP, 95 %": interval, "joints": str(next(iter(own.values())).n_truth)}


def _diagnosis_rows(scores: Scores) -> list[dict[str, str]]:
    metrics = [
        name for name in dict.fromkeys(row.metric for row in scores.entries) if name.startswith(("pckh_", "gain_"))
    ]
    shares = {metric: scores.groups(metric) | {} for metric in metrics}
    return [
        {"": _class(metric), **{group: _shown(value) for group, value in values.items()}}
        for metric, values in shares.items()
    ]


def _class(metric: str) -> str:
    kind, _, name = metric.partition("_")
    return f"AP gained by mending {name}" if kind == "gain" else name


def _check_cross_checkable(protocols: tuple[str, ...]) -> None:
    from harness.scoring.cross_check import check_installed

    if "poseval" not in protocols:
        raise UsageError("--cross-check poseval compares the values of --protocol poseval; ask for both")
    check_installed()


def _cross_checked(truth: Path, predictions: Path, scores: Scores) -> None:
    from harness.scoring.cross_check import poseval_differences, run_poseval

    differences = poseval_differences(scores, run_poseval(truth, predictions))
    if differences:
        metric, joint, ours, theirs = max(differences, key=lambda row: abs(row[2] - row[3]))
        raise CheckError(
            f"poseval differs in {len(differences)} of 48 values, most in {metric} of {joint}: ours {ours!r}, theirs "
            f"{theirs!r}; equal scores make poseval's order depend on the machine (see the notes above)"
        )
    note("poseval, cross-checked: all 48 values equal in every bit")


def _shown(value: float) -> str:
    return "–" if value != value else f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.3f}"
