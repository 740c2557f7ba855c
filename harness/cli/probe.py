"""harness probe: causal questions asked of methods, by changing what they are shown."""

from __future__ import annotations

import os
import shlex
import sys
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
from harness.cli.output import emit_json, emit_rows, note, progress_bar
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.probes.changes import Judge
    from harness.probes.findings import Gap
    from harness.probes.studies import Answer
    from harness.report.probe_crossing import Crossing
    from harness.request import Request
    from harness.results import Results

__all__ = ["command"]

KINDS = ("keyframe", "time", "alignment", "protocol")
FACTORS = ("boxes", "flip", "decoder", "crops", "precision")


@click.command("probe")
@click.option("--method", "names", multiple=True,
              help="NAME, NAME:PRESET or NAME:PRESET=WEIGHTS; repeatable.")  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS), help="What to ask; without --probe, at the usual strengths.")
@click.option("--probe", "probes", multiple=True, help="Only this one: name, name=strength or name@part=strength.")
@click.option("--list", "listing", is_flag=True, help="List the probes, and do nothing else.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the probes that draw random numbers."
)
@click.option("--control/--no-control", default=True, show_default=True,
              help="keyframe: also the copy of the previous frame, which never sees the key frame.")  # fmt: skip
@click.option("--detections", type=click.Path(path_type=Path), help="protocol: also a detector's boxes.")
@click.option("--cross", is_flag=True, help="protocol: all combinations, not one factor at a time.")
@click.option("--factor", "factors", multiple=True, type=click.Choice(FACTORS),
              help="protocol: only this of it; repeatable. All by default.")  # fmt: skip
@click.option("--keep-predictions/--drop-predictions", "keep", default=True, show_default=True,
              help="Of probed runs, beside their records; without them a record has their hash, and takes a tenth of "
                   "the room.")  # fmt: skip
@click.option("--replicates", type=click.IntRange(100), default=1000, show_default=True, help="Bootstrap draws.")
@data_options
@run_options
@overwrite_option(OVERWRITE_RECORDS)
@results_option
@format_option("table", "json", "csv", "markdown", "latex")
def command(
    names: tuple[str, ...], kind: str | None, probes: tuple[str, ...], listing: bool, seed: int, control: bool,
    detections: Path | None, cross: bool, factors: tuple[str, ...], keep: bool, replicates: int, results: Path,
    style: str, overwrite: str, **asked: Any,
) -> None:  # fmt: skip
    """Ask causal questions of methods by changing what they are shown.

    \b
    harness probe --method fami --kind time
    harness probe --method fami --method dual_stream:tiny-token --kind keyframe
    harness probe --method fami --kind alignment
    harness probe --method fami --method hrnet --kind protocol

    Every probed run goes through the normal engine and scorer, gets a record of its own (partial and never ranked
    where a probe changed it) and is compared with the untouched run, pair by pair of sequences. `harness report
    probes` draws what is stored.
    """
    from harness.probes.changes import Judge
    from harness.probes.findings import gaps
    from harness.probes.studies import subject_named
    from harness.request import Request
    from harness.results import Results, read_run

    if listing:
        return emit_rows(_listed(), style)
    _check(names, kind, probes, protocol={"--cross": cross, "--factor": factors, "--detections": detections})
    shared = Request("", command=shlex.join(["harness", *sys.argv[1:]]), **asked)
    subjects = [subject_named(name, shared) for name in dict.fromkeys(names)]
    store = Results(results)
    if kind == "alignment":
        return _alignment(subjects, store, seed=seed, overwrite=overwrite, keep=keep, style=style)
    judge = Judge(_dataset(shared), replicates=replicates, seed=seed)
    found: list[Gap] = []
    if kind == "protocol":
        boxes = str(detections) if detections else None
        answers = _protocol(
            subjects, store, judge, boxes=boxes, seed=seed, cross=cross, factors=factors, overwrite=overwrite
        )
        found = gaps(answers, judge, store, overwrite=overwrite)
        answers = [replace(answer, run=read_run(answer.run.folder)) for answer in answers]
    else:
        subjects += _controls(kind, subjects, shared) if control else []
        answers = _studied(kind or "", subjects, store, judge, probes=probes, seed=seed, overwrite=overwrite)
    for answer in answers:
        if not keep and "probe" in answer.run.record.request:  # another codec or flip test is a run like any other
            store.drop_predictions(answer.run)
    _print(kind or "", answers, found, judge, style)


def _check(names: tuple[str, ...], kind: str | None, probes: tuple[str, ...], *, protocol: dict[str, object]) -> None:
    """Raise UsageError for what does not go together."""
    if not names or (kind is None and not probes):
        raise UsageError("say whom to ask and what: --method NAME --kind keyframe, time, alignment or protocol")
    given = [name for name, value in protocol.items() if value]
    if given and kind != "protocol":
        raise UsageError(f"{given[0]} is of --kind protocol")
    if probes and kind in ("alignment", "protocol"):
        raise UsageError(f"--probe names what --kind {kind} does not ask; leave out one of them")
    if os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ:
        raise UsageError("harness probe runs in one process; under torchrun take harness eval --probe")


def _studied(
    kind: str, subjects: list[Request], store: Results, judge: Judge, *, probes: tuple[str, ...], seed: int,
    overwrite: str,
) -> list[Answer]:  # fmt: skip
    from harness.probes.studies import run_cells, study_cells

    cells = [
        cell
        for subject in subjects
        for cell in study_cells(kind, subject, asked=probes, seed=seed, tell=lambda text: note(f"left out: {text}"))
    ]
    if not cells:
        raise UsageError("nothing of this can be asked of these methods, see above; all probes: `harness probe --list`")
    with progress_bar(", ".join(subject.method for subject in subjects)) as report:
        return list(run_cells(cells, store, judge, overwrite=overwrite, progress=report))


def _protocol(
    subjects: list[Request], store: Results, judge: Judge, *, boxes: str | None, seed: int, cross: bool,
    factors: tuple[str, ...], overwrite: str,
) -> list[Answer]:  # fmt: skip
    from harness.probes.protocols import protocol_cells
    from harness.probes.studies import Cell, run_cells

    cells: list[Cell] = []
    for subject in subjects:
        mine = protocol_cells(
            subject, boxes=boxes, seed=seed, cross=cross, only=factors, tell=lambda text: note(f"left out: {text}")
        )
        if len(mine) > 1:
            cells += mine
        else:
            note(f"left out: method '{subject.method}': nothing of this protocol can be changed for it")
    if not cells:
        raise UsageError("nothing of this protocol can be changed for these methods, see above; leave out --factor")
    with progress_bar(", ".join(subject.method for subject in subjects)) as report:
        return list(run_cells(cells, store, judge, together=False, overwrite=overwrite, progress=report))


def _controls(kind: str | None, subjects: list[Request], shared: Request) -> list[Request]:
    from harness.probes.studies import CONTROL, subject_named

    known = {subject.method for subject in subjects}
    plain = replace(shared, preset=None, weights=None, codec=None)  # which are of the methods that are asked
    return [subject_named(CONTROL, plain)] if kind == "keyframe" and CONTROL not in known else []


def _dataset(shared: Request) -> Any:
    from harness.datasets import open_dataset

    return open_dataset(shared.dataset, shared.split, root=shared.data_root)


def _alignment(subjects: list[Request], store: Results, *, seed: int, overwrite: str, keep: bool, style: str) -> None:
    from harness.probes.alignment import measure_alignment
    from harness.report.probe_rows import rows_of

    rows = []
    for subject in subjects:
        with progress_bar(f"{subject.method}, alignment") as report:
            run = measure_alignment(subject, store, seed=seed, overwrite=overwrite, progress=report)
        note(f"record: {run.folder / 'record.json'}")
        if not keep:
            store.drop_predictions(run)
        named = f"{run.record.method.name}:{run.record.method.preset}"
        rows += [{"method": named, **row} for row in rows_of(run.record) if row["what"] == "alignment"]
    emit_rows(rows if style in ("json", "csv") else _by_displacement(rows), style)


def _by_displacement(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A line per measure, a column per bin of displacement; measures of whole clips stand in the first."""
    bins = [name for name in dict.fromkeys(row["bin"] for row in rows) if name != "clips"]
    value = {(row["method"], row["measure"], row["bin"]): row for row in rows}
    lines = []
    for method, measure in dict.fromkeys((row["method"], row["measure"]) for row in rows):
        found = [value.get((method, measure, name)) for name in bins]
        found[0] = found[0] or value.get((method, measure, "clips"))
        cells = {f"{name} cells" if name != "all" else "all": row for name, row in zip(bins, found, strict=True)}
        interval = _interval(found[0])
        shown = {name: _shown(row and row["value"]) for name, row in cells.items()}
        first = {"method": method, "measure": measure, "all": _shown(found[0] and found[0]["value"])}
        lines.append({**first, "95 %": interval, **shown})
    return lines


def _interval(row: dict[str, Any] | None) -> str:
    return "" if row is None or row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"


def _print(kind: str, answers: list[Answer], found: list[Gap], judge: Judge, style: str) -> None:
    from harness.probes.findings import gains_by_slice, gap_rows, gap_table, named, summary
    from harness.report.probe_crossing import crossing_rows, crossing_sentence, crossings

    if style in ("json", "csv"):
        flat = [
            {"method": named(answer), "probe": answer.cell.name, **row} for answer in answers for row in answer.rows
        ]
        flat += [{"method": gap.title, "probe": gap.protocol, **row} for gap in found for row in gap.rows]
        return emit_json(flat) if style == "json" else emit_rows(flat, style)
    tables = [summary(answers)]
    if kind == "time":
        tables.append(gains_by_slice(answers))
    crossed: list[Crossing] = []
    if kind == "protocol":
        tables.append(gap_table(found))
        crossed = crossings(gap_rows(found))
        tables += [crossing_rows(crossing) for crossing in crossed]
    click.echo(f"{judge.dataset.name} {judge.dataset.split}, change against the untouched run, AP points")
    for rows in tables:
        if rows:
            click.echo()
            emit_rows([{key: _shown(value) for key, value in row.items()} for row in rows], style)
    for crossing in crossed:
        click.echo(f"\n{crossing_sentence(crossing)}")
    if any("probe" in answer.run.record.request for answer in answers):
        note("\npartial, not comparable: runs with a probe are stored under it and never ranked")


def _shown(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _listed() -> list[dict[str, str]]:
    from harness.probes import probe_cards

    return [
        {
            "probe": card.name, "kind": card.kind, "strengths": ", ".join(f"{dose:g}" for dose in card.doses),
            "unit": card.unit, "parts": ", ".join(card.parts[:7]), "what": card.summary,
        }
        for card in sorted((probe_cards[name] for name in probe_cards), key=lambda card: (card.kind, card.name))
    ]  # fmt: skip
