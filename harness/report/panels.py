"""One frame as truth or as a run sees it: poses over the picture, wrong joints ringed, a strip that says what it is.

What videos and contact sheets are put together from; the colours are those of `overlays.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.report.opened import Opened
from harness.report.overlays import draw_people
from harness.scoring.matched import Matched
from harness.scoring.ragged import Integers
from harness.scoring.scene import People
from harness.skeletons import POSETRACK15

__all__ = ["STRIP", "View", "captioned", "letters_of", "run_panel", "truth_panel"]

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

#: Height of a caption, px, and its colours: paper, ink and the colour of A's and B's letters (blue, green, red).
STRIP = 26
_PAPER, _INK = (27, 24, 23), (240, 240, 240)
_LETTERS = ((194, 154, 227), (66, 228, 240))

#: The ring around a joint that is not where it belongs: the one colour of the palette that no limb has.
_WRONG = (167, 121, 204)


@dataclass(frozen=True)
class View:
    """The part of a frame to show: its corner `x`, `y`, its `width` and `height` px, drawn `scale` times as large."""

    x: float
    y: float
    width: float
    height: float
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is drawn, px."""
        return max(2, round(self.width * self.scale)), max(2, round(self.height * self.scale))

    def of(self, picture: Picture) -> Picture:
        """That part of a picture, grey where it reaches beyond."""
        width, height = self.size
        matrix = np.array([
            [self.scale, 0, -(self.x - 0.5) * self.scale - 0.5], [0, self.scale, -(self.y - 0.5) * self.scale - 0.5]
        ])  # fmt: skip
        method = cv2.INTER_CUBIC if self.scale > 1 else cv2.INTER_AREA
        return np.asarray(cv2.warpAffine(picture, matrix, (width, height), flags=method, borderValue=_PAPER), np.uint8)

    def place(self, joints: Floats) -> Floats:
        """Where joints (..., 2) px of the frame lie in what is drawn."""
        placed: Floats = (joints - np.array([self.x, self.y]) + 0.5) * self.scale - 0.5
        return placed


def truth_panel(opened: Opened, picture: Picture, frame: int, view: View, *, person: int | None = None) -> Picture:
    """The people annotated in a frame of the scene, or only the one in row `person` of its truth; `view` of it."""
    people = opened.matched[0].table.scene.truth
    rows = np.flatnonzero(people.frame == frame) if person is None else np.array([person])
    return _drawn(picture, people, rows, view)


def run_panel(
    matched: Matched, picture: Picture, frame: int, view: View, *, person: int | None = None
) -> tuple[Picture, int, int]:
    """The people a run predicts in a frame of the scene, or only who was matched to `person`, wrong joints ringed.

    Also how many of the frame's true joints are found, and how many there are. A joint is wrong that lies farther than
    half a head size from its truth; poses of nobody are drawn without rings.
    """
    table, people = matched.table, matched.table.scene.predicted
    rows = np.flatnonzero((people.frame == frame) & ((person is None) | (table.truth_of == person)))
    drawn = _drawn(picture, people, rows, view)
    judged = rows[table.truth_of[rows] >= 0]
    wrong = people.present[judged] & ~table.hit[judged] & table.scene.truth.present[table.truth_of[judged]]
    radius = max(3, round(min(drawn.shape[:2]) / 60))
    for place in np.rint(view.place(_joints(people, judged)[wrong])).astype(int):
        for colour, thickness in (((0, 0, 0), 3), (_WRONG, 2)):
            cv2.circle(drawn, (int(place[0]), int(place[1])), radius, colour, thickness, cv2.LINE_AA)
    true = table.scene.truth.frame == frame
    found = table.hit[judged] & table.scene.truth.present[table.truth_of[judged]]
    return drawn, int(found.sum()), int(table.scene.truth.present[true].sum())


def captioned(panel: Picture, text: str, *, run: int | None = None, right: str = "") -> Picture:
    """The panel under a strip with `text`, led by the letter of a run (0: A) and ended by `right`; ASCII only.

    What does not fit ends in three dots.
    """
    strip = np.full((STRIP, panel.shape[1], 3), _PAPER, dtype=np.uint8)
    left = 8
    if run is not None:
        cv2.rectangle(strip, (6, 5), (22, STRIP - 5), _LETTERS[run % 2], -1, cv2.LINE_AA)
        _write(strip, "AB"[run % 2], 9, _PAPER)
        left = 30
    room = panel.shape[1] - _width(right) - 14 if right else panel.shape[1]
    if left + _width(text) > room:  # a number cut short would be another number
        while text and left + _width(text + "...") > room:
            text = text[:-1]
        text += "..."
    _write(strip, text, left, _INK)
    if right:
        _write(strip, right, panel.shape[1] - _width(right) - 8, (170, 170, 170))
    return np.vstack([strip, panel])


def letters_of(opened: Opened) -> list[int | None]:
    """The letter (0: A) that marks each of one or two runs; a single run has none."""
    return [number if len(opened.runs) > 1 else None for number in range(len(opened.runs[:2]))]


def _drawn(picture: Picture, people: People, rows: Integers, view: View) -> Picture:
    return draw_people(view.of(picture), view.place(_joints(people, rows)), people.present[rows], skeleton=POSETRACK15)


def _joints(people: People, rows: Integers) -> Floats:
    return np.stack([people.x[rows], people.y[rows]], axis=-1)


def _write(strip: Picture, text: str, left: int, colour: tuple[int, int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(strip, plain, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0])
