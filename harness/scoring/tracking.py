"""Tracking per joint (CLEAR MOT): MOTA, MOTP in both historical definitions, precision and recall.

Source: specification of poseval, section 6. Every joint is matched on its own within `GATE` head sizes; people are not.

Switches and the surplus terms of HEAD's MOTP follow from the sorted list of matches (`contests.py` finds them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError
from harness.scoring.contests import identities, matched_pairs
from harness.scoring.gating import JOINTS, Gated, gated_pairs
from harness.scoring.ragged import Integers, first_of_each, sums_by_group
from harness.scoring.scene import Scene

__all__ = ["Tracking", "TrackingCounts", "count_tracking", "tracked", "tracking"]


@dataclass(frozen=True)
class TrackingCounts:
    """Events by sequence and joint, (S,15) each; rows can be added up freely.

    `distance` sums the matches' distances in head sizes; `distance_head` is the same with everything that the event
    table of motmetrics >= 1.2 adds to its distance column (about twice as much).
    """

    misses: Integers
    switches: Integers
    false_positives: Integers
    objects: Integers
    detections: Integers
    distance: NDArray[np.float64]
    distance_head: NDArray[np.float64]


@dataclass(frozen=True)
class Tracking:
    """Percent per joint in POSETRACK15 order, then the mean of those that exist; (16,) each.

    `motp` is the mean overlap of matches (100 at distance 0), as before October 2020; `motp_head` is what poseval's
    main branch prints since.
    """

    mota: NDArray[np.float64]
    motp: NDArray[np.float64]
    motp_head: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    n_truth: Integers
    n_predicted: Integers


def tracked(scene: Scene) -> bool:
    """Whether everybody on both sides has a track id."""
    return all(bool((side.track_ids != NO_TRACK).all()) for side in (scene.truth, scene.predicted))


def count_tracking(scene: Scene, *, dummies: bool = True, assignment: str = "head") -> TrackingCounts:
    """Walk all sequences of a scene and count the events of every joint.

    `dummies` is upstream's rule for a frame without predictions or without people: it adds one miss, one false positive
    and one object to every joint, however many people there are; without it they are counted as they are.
    `assignment` "head" pairs as many joints as possible, then the nearest; "legacy" (motmetrics 1.0) may pair fewer in
    a crowd of three or more. Raises DataError where people lack track ids.
    """
    _check_tracked(scene)
    gated = gated_pairs(scene)
    matched = matched_pairs(scene, gated, assignment)
    switch, copies = _histories(scene, matched)
    size = (len(scene.sequence_names), JOINTS)

    def totals(pairs: Gated, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        cell = scene.frame_sequence[scene.truth.frame[pairs.truth]] * JOINTS + pairs.joint
        return np.bincount(cell, weights=weights, minlength=size[0] * JOINTS).astype(np.float64).reshape(size)

    detections = totals(matched).astype(np.int64)
    objects, hypotheses, dummy = _present(scene, dummies)
    return TrackingCounts(
        misses=objects - detections + dummy,
        switches=totals(matched.only(switch)).astype(np.int64),
        false_positives=hypotheses - detections + dummy,
        objects=objects + dummy,
        detections=detections,
        distance=totals(matched, matched.distance),
        distance_head=totals(gated, gated.distance) + totals(matched, matched.distance * copies),
    )


def tracking(counts: TrackingCounts, *, rows: Integers | slice = slice(None)) -> Tracking:
    """Percent from the counts of the chosen sequences; NaN where a ratio is 0/0, MOTP 0 where nothing was found."""
    misses, switches, false_positives, objects, detections = (
        column[rows].sum(axis=0)
        for column in (counts.misses, counts.switches, counts.false_positives, counts.objects, counts.detections)
    )
    distance, distance_head = counts.distance[rows].sum(axis=0), counts.distance_head[rows].sum(axis=0)
    predicted = false_positives + detections
    with np.errstate(divide="ignore", invalid="ignore"):
        motp = [np.where(detections > 0, 100 * (1 - total / detections), 0.0) for total in (distance, distance_head)]
        return Tracking(
            mota=_with_mean(np.where(objects > 0, 100 * (1 - (misses + switches + false_positives) / objects), np.nan)),
            motp=_with_mean(motp[0]),
            motp_head=_with_mean(motp[1]),
            precision=_with_mean(100 * (detections / predicted)),
            recall=_with_mean(100 * (detections / objects)),
            n_truth=np.append(objects, objects.sum()),
            n_predicted=np.append(predicted, predicted.sum()),
        )


def _with_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = values[~np.isnan(values)]
    return np.append(values, np.mean(known) if len(known) else np.nan)


def _check_tracked(scene: Scene) -> None:
    for noun, people in (("truth", scene.truth), ("predicted", scene.predicted)):
        lacking = np.flatnonzero(people.track_ids == NO_TRACK)
        if len(lacking):
            frame = people.frame[lacking[0]]
            raise DataError(
                f"sequence {scene.sequence_names[scene.frame_sequence[frame]]}, frame {scene.frame_position[frame]}: "
                f"a {noun} person has no track id ({len(lacking)} of {len(people)}); tracking needs one for everybody"
            )


def _present(scene: Scene, dummies: bool) -> tuple[Integers, Integers, Integers]:
    """(objects, hypotheses) joints by sequence and joint, and (S,1) dummies of frames where a side is empty."""
    sizes = [np.bincount(side.frame, minlength=scene.frame_count) for side in (scene.truth, scene.predicted)]
    both = (sizes[0] > 0) & (sizes[1] > 0) if dummies else np.ones(scene.frame_count, dtype=bool)
    counts = []
    for side in (scene.truth, scene.predicted):
        rows = both[side.frame]
        sequence = scene.frame_sequence[side.frame[rows]]
        counts.append(sums_by_group(sequence, side.present[rows], len(scene.sequence_names)).astype(np.int64))
    dummy = np.bincount(scene.frame_sequence[~both], minlength=len(scene.sequence_names))[:, None]
    return counts[0], counts[1], dummy


def _histories(scene: Scene, matched: Gated) -> tuple[NDArray[np.bool_], Integers]:
    """Which matches are identity switches, and how often each counts in the distance column of HEAD's event table.

    A match not prompted by memory ("fresh") adds copies: ASCEND for a switch to a hypothesis never matched before,
    TRANSFER when the hypothesis' last fresh partner was another, MIGRATE when then the object is new, too.
    """
    frame = scene.truth.frame[matched.truth]
    objects = identities(scene, scene.truth)[matched.truth] * JOINTS + matched.joint
    found = identities(scene, scene.predicted)[matched.predicted]
    hypotheses = found * JOINTS + matched.joint
    last = _previous(objects, frame, found)
    new_object = last < 0
    switch = ~new_object & (last != found)
    fresh = np.flatnonzero(new_object | switch)
    new_hypothesis = _previous(hypotheses, frame, found) < 0
    partner = np.full(len(frame), -1)
    partner[fresh] = _previous(hypotheses[fresh], frame[fresh], objects[fresh])
    transfer = (partner >= 0) & (partner != objects)
    ascend = switch & new_hypothesis
    return switch, 1 + ascend + transfer + (transfer & new_object)


def _previous(track: Integers, frame: Integers, value: Integers) -> Integers:
    """(N,) the value at the last earlier event of the same track, -1 where there is none."""
    order = np.lexsort((frame, track))
    before = np.full(len(order), -1)
    if len(order):
        before[1:] = np.where(first_of_each(track[order])[1:], -1, value[order][:-1])
    found = np.empty_like(before)
    found[order] = before
    return found
