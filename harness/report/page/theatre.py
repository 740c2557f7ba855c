"""The failure theatre as data: failures, the poses of their frames, and which pictures they need.

Places are px of the original frame; the page scales them. Joints stand in POSETRACK15 order.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets import NO_TRACK
from harness.report.opened import Opened
from harness.report.overlays import bone_colour
from harness.report.page.failures import Cells, Failure, cells_of, find_failures
from harness.scoring.error_classes import CLASSES, UNLABELLED
from harness.scoring.failure_runs import KINDS
from harness.scoring.matched import Matched
from harness.scoring.scene import People
from harness.scoring.slices import slice_named
from harness.scoring.standard import SLICES
from harness.skeletons import POSETRACK15

__all__ = ["CONTEXT", "LONGEST", "Theatre", "stage", "window"]

#: Frames shown before and after a failure, and the most frames of one clip.
CONTEXT, LONGEST = 3, 25

#: What the classes and kinds of failures mean, for the page's legend.
MEANINGS = {
    "good": "within half a head size of its place", "jitter": "within one head size",
    "miss": "farther off than one head size",
    "inversion": "on the own opposite joint", "swap": "on another person's joint",
    "absent": "the person is found, the joint is not predicted", "undetected": "nobody was found for the person",
    "lag": "where the joint was 1 to 3 frames earlier", "dropout": "not predicted at all",
    "flicker": "good again, and wrong again within 3 frames", "isolated": "one frame only", "short": "2 to 4 frames",
    "long": "5 frames or more",
}  # fmt: skip


@dataclass(frozen=True)
class Theatre:
    """`data` for the page as JSON values; `images` the files of its pictures, in the order of their numbers."""

    data: dict[str, Any]
    images: tuple[Path, ...]


def stage(opened: Opened, *, limit: int, slices: Series[str] = SLICES) -> Theatre:
    """The heaviest failures of one run, or between the first two, with everything to draw them from."""
    matched = opened.matched[:2]
    cells = [cells_of(each) for each in matched]
    failures, total = find_failures(matched, cells, limit=limit, slices=slices)
    lengths = [len(sequence.frames) for sequence in opened.dataset.sequences]
    windows = [window(failure, lengths[failure.sequence]) for failure in failures]
    wanted = dict.fromkeys(  # in the order of weight: the first are the last to go without a picture
        (failure.sequence, position)
        for failure, (first, last) in zip(failures, windows, strict=True)
        for position in range(first, last + 1)
    )
    pictures = {place: number for number, place in enumerate(wanted)}
    sequences = opened.dataset.sequences
    images = tuple(opened.dataset.image_path(sequences[number].frames[at]) for number, at in wanted)
    bins = list(dict.fromkeys(label for failure in failures for label in failure.bins))
    data = {
        "joints": [name.replace("_", " ") for name in POSETRACK15.names],
        "bones": [_bone(first, second) for first, second in POSETRACK15.bones],
        "classes": list(CLASSES),
        "kinds": list(KINDS),
        "meanings": MEANINGS,
        "runs": list(opened.names[:2]),
        "bins": bins,
        "slices": [{"name": name, "title": slice_named(name)[0].title} for name in slices],
        "total": total,
        "names": [sequence.name for sequence in sequences],
        "sequences": _sequences(matched, cells, pictures),
        "failures": [_failure(each, span, bins) for each, span in zip(failures, windows, strict=True)],
    }
    return Theatre(data, images)


def window(failure: Failure, length: int) -> tuple[int, int]:
    """First and last frame of a failure's clip: itself and its context, around its worst frame where that is long."""
    first, last = max(0, failure.first - CONTEXT), min(length - 1, failure.last + CONTEXT)
    if last - first >= LONGEST:
        first = min(max(first, failure.worst - LONGEST // 2), last - LONGEST + 1)
        last = first + LONGEST - 1
    return first, last


def _bone(first: str, second: str) -> list[Any]:
    red, green, blue = bone_colour(first, second)
    return [POSETRACK15.index(first), POSETRACK15.index(second), f"#{red:02x}{green:02x}{blue:02x}"]


def _failure(failure: Failure, span: tuple[int, int], bins: list[str]) -> dict[str, Any]:
    return {
        "sequence": failure.sequence, "track": _track(failure.track), "joint": failure.joint, "first": failure.first,
        "last": failure.last, "worst": failure.worst, "from": span[0], "to": span[1], "wrong": failure.wrong,
        "weight": failure.weight, "classes": list(failure.codes), "kind": failure.kind,
        "bins": [bins.index(label) for label in failure.bins],
    }  # fmt: skip


def _sequences(
    matched: Series[Matched], cells: Series[Cells], pictures: dict[tuple[int, int], int]
) -> dict[int, dict[str, Any]]:
    """Sequence number -> name, size and the frames that are shown; only the sequences that have some."""
    frames = {place: _frame(picture) for place, picture in pictures.items()}
    _add_truth(frames, matched[0], cells)
    for run, each in enumerate(matched):
        _add_predictions(frames, each, run)
    found: dict[int, dict[str, Any]] = {}
    for (number, position), frame in sorted(frames.items()):
        sequence = matched[0].sequences[number]
        if number not in found:
            found[number] = {"name": sequence.name, "size": _size(matched[0], number), "frames": {}}
        found[number]["frames"][position] = {"index": sequence.frames[position].index, **frame}
    return found


def _frame(picture: int) -> dict[str, Any]:
    return {"picture": picture, "truth": [], "predicted": [[], []]}


def _size(matched: Matched, number: int) -> list[int]:
    """Width and height of a sequence's frames; where the labels do not say, what holds all its people."""
    sequence = matched.sequences[number]
    stated = next((frame.size for frame in sequence.frames if frame.size), None)
    if stated:
        return list(stated)
    places = sequence.truth.joints[sequence.truth.annotated]
    return np.ceil(places.max(axis=0) * 1.05).astype(int).tolist() if len(places) else [640, 360]


def _add_truth(frames: dict[tuple[int, int], dict[str, Any]], matched: Matched, cells: Series[Cells]) -> None:
    scene = matched.table.scene
    for row, (number, position) in enumerate(
        zip(matched.table.truth_sequence.tolist(), matched.table.truth_frame.tolist(), strict=True)
    ):
        if (frame := frames.get((number, position))) is None:
            continue
        sequence, own, everyone = matched.sequences[number], scene.truth.row[row], matched.truth_rows[row]
        visible = sequence.truth.visible
        seen = None if visible is None else visible[own][sequence.skeleton.positions_of(POSETRACK15)]
        frame["truth"].append({
            "track": _track(scene.truth.track_ids[row]),
            "head": round(float(scene.head[row]), 2),
            "joints": _places(scene.truth, row),
            "hidden": [] if seen is None else np.flatnonzero(~seen & scene.truth.present[row]).tolist(),
            "codes": ["".join("-" if code == UNLABELLED else str(code) for code in run.codes[everyone].tolist())
                      for run in cells],
        })  # fmt: skip


def _add_predictions(frames: dict[tuple[int, int], dict[str, Any]], matched: Matched, run: int) -> None:
    """Append the poses of one run, each with the track of the person it was matched to (None: nobody)."""
    table, scene = matched.table, matched.table.scene
    tracks = scene.truth.track_ids
    positions = scene.frame_position[scene.predicted.frame]
    for row, (number, position) in enumerate(zip(table.predicted_sequence.tolist(), positions.tolist(), strict=True)):
        if (frame := frames.get((number, position))) is not None:
            truth = int(table.truth_of[row])
            frame["predicted"][run].append(
                {"track": None if truth < 0 else _track(tracks[truth]), "joints": _places(scene.predicted, row)}
            )


def _track(track: Any) -> int | None:
    return None if track == NO_TRACK else int(track)


def _places(people: People, row: int) -> list[float | None]:
    """x, y, x, y ... px to a tenth; None where the joint is not there."""
    places: NDArray[np.float64] = np.stack([people.x[row], people.y[row]], axis=-1)
    places[~people.present[row]] = np.nan
    return [None if value != value else round(value, 1) for value in places.ravel().tolist()]
