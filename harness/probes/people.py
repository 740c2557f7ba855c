"""Box probes: the same people, looked for where a detector might have put its boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.boxes import Boxes, revised
from harness.datasets.sequences import NO_TRACK, DataSet
from harness.predictions import person_numbers
from harness.probes.registry import Rows, register_probe
from harness.proposals import proposal

__all__ = ["detected", "jittered", "proposed"]

#: At dose 1: spread of sides and centres (shares of the sides), shares of people missed and found twice.
_SPREAD, _MISSED, _TWICE = 0.05, 0.07, 0.05


@register_probe("boxes_jitter", "boxes", "boxes moved and resized at random", place="boxes",
                unit="share of the sides (sd)", doses=(0.05, 0.1), most=0.5, seeded=True)  # fmt: skip
def jittered(boxes: Boxes, dataset: DataSet, dose: float, rows: Rows) -> Boxes:
    """Centres moved by `dose` of the sides, sides multiplied by exp of as much."""
    corners = np.array(
        [_jittered(*pair, dose) for pair in zip(boxes.boxes, _random(boxes, dataset, rows), strict=True)]
    )
    return revised(boxes, note=f"jittered by {dose:g}", corners=corners.reshape(-1, 4))


@register_probe("boxes_detector", "boxes", "boxes as a made-up detector gives them: moved, missed, doubled, scored",
                place="boxes", unit="times its usual faults", doses=(1.0,), most=10.0, seeded=True)  # fmt: skip
def detected(boxes: Boxes, dataset: DataSet, dose: float, rows: Rows) -> Boxes:
    """No detector's boxes, only some of its faults: at 1, 5 % jitter, 7 % of the people missed and 5 % found twice."""
    kept, corners, scores, tracks = [], [], [], []
    for row, random in enumerate(_random(boxes, dataset, rows)):
        chance, times = random.random(), 1 + (random.random() < dose * _TWICE)
        if chance < dose * _MISSED:
            continue
        for number in range(times):
            kept.append(row)
            corners.append(_jittered(boxes.boxes[row], random, dose * _SPREAD * (1 + 2 * number)))
            scores.append(boxes.scores[row] * random.beta(8, 2) * (0.5 if number else 1.0))
            tracks.append(NO_TRACK if number else int(boxes.track_ids[row]))
    chosen = revised(boxes, note=f"made-up detector {dose:g}", rows=np.array(kept, dtype=np.int64))
    return revised(
        chosen, note="", corners=np.array(corners).reshape(-1, 4), track_ids=np.array(tracks, dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
    )  # fmt: skip


@register_probe("boxes_proposal", "boxes", "boxes drawn from RMPE's model of a detector: each side off by itself",
                place="boxes", unit="times the model's offsets", doses=(1.0,), most=2.0, seeded=True)  # fmt: skip
def proposed(boxes: Boxes, dataset: DataSet, dose: float, rows: Rows) -> Boxes:
    """At 1 the released proposals: a Gaussian per side, and 15 % patches within the box; everybody is found once."""
    sizes = [dataset.sequences[number].frames[frame].size or (np.inf, np.inf)
             for number, frame in zip(boxes.sequence.tolist(), boxes.frame.tolist(), strict=True)]  # fmt: skip
    drawn = [
        proposal(box, size, random, dose=dose)
        for box, size, random in zip(boxes.boxes, sizes, _random(boxes, dataset, rows), strict=True)
    ]
    # at the border of an image the model may turn a box inside out
    corners = [new if (new[2:] > new[:2]).all() else old for new, old in zip(drawn, boxes.boxes, strict=True)]
    return revised(boxes, note=f"proposals {dose:g}", corners=np.array(corners).reshape(-1, 4))


def _random(boxes: Boxes, dataset: DataSet, rows: Rows) -> list[np.random.Generator]:
    person = person_numbers(boxes.sequence, boxes.frame)
    found: list[np.random.Generator] = []
    for number, sequence in enumerate(dataset.sequences):
        mine = boxes.sequence == number
        found += rows(sequence, boxes.frame[mine], person[mine])
    return found


def _jittered(box: NDArray[np.float64], random: np.random.Generator, spread: float) -> NDArray[np.float64]:
    moved, scaled = random.standard_normal(2), random.standard_normal(2)
    sides = box[2:] - box[:2]
    centre, half = (box[:2] + box[2:]) / 2 + spread * moved * sides, sides * np.exp(spread * scaled) / 2
    corners: NDArray[np.float64] = np.concatenate([centre - half, centre + half])
    return corners
