"""Contact sheets: the heaviest failures at their worst frame, truth and runs beside each other, as one picture."""

from __future__ import annotations

from collections.abc import Sequence as Series
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.datasets import NO_TRACK
from harness.datasets.pictures import read_image
from harness.errors import HarnessError, UsageError
from harness.files import write_atomically
from harness.report.opened import Opened
from harness.report.page.failures import Failure, cells_of, find_failures
from harness.report.panels import View, captioned, letters_of, run_panel, truth_panel
from harness.scoring.error_classes import CLASSES, GOOD
from harness.scoring.matching import GATE
from harness.skeletons import POSETRACK15

__all__ = ["contact_sheet", "failures_of", "write_sheet"]

#: Width and height of one panel, and the space between two failures, px.
PANEL, GAP = (230, 300), 14

Picture = NDArray[np.uint8]


def failures_of(opened: Opened, *, limit: int, sequence: int | None = None) -> list[Failure]:
    """The heaviest failures, of one sequence where it is given, one per person and frame; UsageError for none."""
    found, total = find_failures(opened.matched[:2], [cells_of(each) for each in opened.matched[:2]], limit=10**9)
    chosen = [failure for failure in found if sequence in (None, failure.sequence)]
    if not chosen:
        raise UsageError(f"there is nothing to show: the runs hold {total} failures, none of them in this sequence")
    seen: dict[tuple[int, int, int], Failure] = {}
    for failure in chosen:  # the joints of one mistaken person would fill a sheet with the same picture
        seen.setdefault((failure.sequence, failure.track, failure.worst), failure)
    return list(seen.values())[:limit]


def contact_sheet(opened: Opened, failures: Series[Failure], *, columns: int = 2) -> Picture:
    """(H,W,3) uint8 BGR: a strip of panels per failure, `columns` of them beside each other."""
    strips = [_strip(opened, failure) for failure in failures]
    columns = max(1, min(columns, len(strips)))
    blank = np.full_like(strips[0], 255)
    strips += [blank] * (-len(strips) % columns)
    rows = [
        np.hstack([cv2.copyMakeBorder(strip, GAP, 0, GAP, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
                   for strip in strips[start : start + columns]])
        for start in range(0, len(strips), columns)
    ]  # fmt: skip
    sheet = cv2.copyMakeBorder(np.vstack(rows), 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.asarray(sheet, dtype=np.uint8)


def write_sheet(path: Path, sheet: Picture) -> None:
    """Write a sheet as the PNG, JPEG or WebP file that its name says; HarnessError where that cannot be."""
    ending = path.suffix.lower() or ".png"
    if ending not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"{path}: a sheet is written as .png, .jpg or .webp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, cv2.imencode(ending, sheet)[1].tobytes())
    except OSError as error:
        raise HarnessError(f"{path}: cannot write the sheet ({error.strerror or error}); choose another -o") from None


def _strip(opened: Opened, failure: Failure) -> Picture:
    sequence = opened.dataset.sequences[failure.sequence]
    picture = read_image(opened.dataset.image_path(sequence.frames[failure.worst]))
    scene = opened.matched[0].table.scene
    frame = int(np.flatnonzero((scene.frame_sequence == failure.sequence) & (scene.frame_position == failure.worst))[0])
    person = _person(opened, failure, frame)
    view = _around(opened, person)
    truth = truth_panel(opened, picture, frame, view, person=person)
    panels = [captioned(_with_gate(truth, opened, person, failure, view), "Truth")]
    for number, (matched, name, run) in enumerate(
        zip(opened.matched[:2], opened.names, letters_of(opened), strict=False)
    ):
        drawn, _, _ = run_panel(matched, picture, frame, view, person=person)
        word = CLASSES[failure.outcome] if number == failure.wrong else CLASSES[GOOD]
        panels.append(captioned(_with_gate(drawn, opened, person, failure, view), name, run=run, right=word))
    row = np.hstack(panels)
    joint = POSETRACK15.names[failure.joint].replace("_", " ")
    who = "" if failure.track == NO_TRACK else f", person {failure.track}"
    text = f"{joint}, frame {sequence.frames[failure.worst].index}: {sequence.name}{who}"
    return captioned(row, text, right=f"{failure.weight:.1f} heads")


def _with_gate(drawn: Picture, opened: Opened, person: int, failure: Failure, view: View) -> Picture:
    """A circle where the joint belongs: half a head size, within which it counts."""
    scene = opened.matched[0].table.scene
    place = view.place(np.array([scene.truth.x[person, failure.joint], scene.truth.y[person, failure.joint]]))
    at, radius = np.rint(place).astype(int).tolist(), max(3, round(GATE * float(scene.head[person]) * view.scale))
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.circle(drawn, (at[0], at[1]), radius, colour, thickness, cv2.LINE_AA)
    return drawn


def _around(opened: Opened, person: int) -> View:
    """A person and some space, in the shape of a panel."""
    scene = opened.matched[0].table.scene
    x, y = scene.truth.x[person], scene.truth.y[person]
    left, right, top, bottom = map(float, (np.nanmin(x), np.nanmax(x), np.nanmin(y), np.nanmax(y)))
    height = 1.35 * max(bottom - top, (right - left) * PANEL[1] / PANEL[0], 2 * float(scene.head[person]))
    scale = PANEL[1] / height
    width = PANEL[0] / scale
    return View((left + right - width) / 2, (top + bottom - height) / 2, width, height, scale)


def _person(opened: Opened, failure: Failure, frame: int) -> int:
    """Row, in the scene's truth, of the person at the failure's worst frame."""
    matched = opened.matched[0]
    people = np.flatnonzero(matched.table.scene.truth.frame == frame)
    return int(people[np.isin(matched.truth_rows[people], failure.rows)][0])
