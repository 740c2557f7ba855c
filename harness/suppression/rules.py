"""Suppression by name, over predictions: which poses of a frame are one person, and what remains of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, UsageError
from harness.predictions import Predictions, only
from harness.similarity import oks_sigmas, pose_boxes
from harness.skeletons import Skeleton
from harness.suppression.oks import instance_scores, oks_suppression, soft_oks_suppression
from harness.suppression.parametric import SIMILARITY, MergedPoses, merge_poses, merge_poses_original

__all__ = ["RULES", "People", "Rule", "Survivors", "suppress", "threshold_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class People:
    """The people of a frame: `joints` (N,J,2) px, NaN where absent; `scores` (N,J) without the box score, 0 where
    unknown; `boxes` (N,4) xyxy px; `box_scores` (N,) of boxes or, `own`, of the persons themselves; `areas` (N,) px^2.
    """

    joints: Floats
    scores: Floats
    boxes: Floats
    box_scores: Floats
    areas: Floats
    skeleton: Skeleton
    own: bool = False

    def only(self, rows: NDArray[np.int64]) -> People:
        """Some of them."""
        return replace(
            self, joints=self.joints[rows], scores=self.scores[rows], boxes=self.boxes[rows],
            box_scores=self.box_scores[rows], areas=self.areas[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class Survivors:
    """What a rule leaves: `rows` (M,) of the people kept and the `factor` (M,) on their scores; a rule that merges
    also gives `joints` (M,J,2) and `scores` (M,J).
    """

    rows: NDArray[np.int64]
    factor: Floats
    joints: Floats | None = None
    scores: Floats | None = None


class Rule(Protocol):
    """A way to suppress, given the people of a frame and its threshold."""

    def __call__(self, people: People, threshold: float) -> Survivors:
        """Who is left."""


def suppress(
    predictions: Predictions,
    rule: str,
    *,
    threshold: float | None = None,
    areas: Floats | None = None,
    own_scores: bool = False,
) -> Predictions:
    """Predictions without duplicates, frame by frame; who is left keeps order, track id and box.

    `rule` is a name of RULES; `threshold` None takes the rule's own (`threshold_of`). `areas` (N,) px^2 scale the OKS:
    upstream's is that of the padded crop; the default is the area of the box. Joint scores are taken to be confidence
    times box score, and stay so; with `own_scores`, of whole frames, they are confidences, and the box score is that of
    the person, by which OKS ranks. Raises UsageError for an unknown rule, DataError for an area that is not positive.
    """
    chosen, usual = _rule(rule)
    limit = usual if threshold is None else threshold
    people = _people(predictions, areas, own=own_scores)
    starts = np.flatnonzero(predictions.person == 0)
    survivors = []
    for rows in np.split(np.arange(len(predictions)), starts[1:]):
        if len(rows):
            survivors.append((rows, chosen(people.only(rows), limit)))
    return _rebuilt(predictions, survivors, own=own_scores)


def threshold_of(rule: str) -> float:
    """The threshold a rule has unless another is given."""
    return _rule(rule)[1]


def _oks(people: People, threshold: float) -> Survivors:
    rows = oks_suppression(
        people.joints, _ranks(people), people.areas, sigmas=oks_sigmas(people.skeleton), threshold=threshold
    )
    return Survivors(rows, np.ones(len(rows)))


def _soft_oks(people: People, threshold: float) -> Survivors:
    before = _ranks(people)
    rows, after = soft_oks_suppression(
        people.joints, before, people.areas, sigmas=oks_sigmas(people.skeleton), threshold=threshold
    )
    return Survivors(rows, np.divide(after, before[rows], out=np.ones_like(after), where=before[rows] > 0))


def _pose(people: People, threshold: float) -> Survivors:
    merged = merge_poses(people.joints, people.scores, people.boxes, people.box_scores, similarity=threshold)
    return _of_merged(merged)


def _pose_original(people: People, threshold: float) -> Survivors:
    ankles = [number for number, name in enumerate(people.skeleton.names) if name.endswith("_ankle")]
    merged = merge_poses_original(people.joints, people.scores, people.boxes, similarity=threshold, may_miss=ankles)
    return _of_merged(merged)


def _of_merged(merged: MergedPoses) -> Survivors:
    return Survivors(merged.picked, np.ones(len(merged.picked)), merged.joints, merged.scores)


#: Name -> rule and its usual threshold (of similarity: above it two poses are one person; of the decay for soft-oks).
RULES: Mapping[str, tuple[Rule, float]] = {
    "oks": (_oks, 0.9),
    "soft-oks": (_soft_oks, 0.9),
    "pose": (_pose, SIMILARITY),
    "pose-original": (_pose_original, SIMILARITY),
}


def _rule(name: str) -> tuple[Rule, float]:
    if name not in RULES:
        raise UsageError(f"unknown suppression '{name}'; choose from {', '.join(RULES)}")
    return RULES[name]


def _ranks(people: People) -> Floats:
    """(N,) the field's instance score; a pose without a joint above its minimum is ranked by a sliver of its mean.

    Persons who were found without boxes are ranked by their own scores.
    """
    if people.own:
        return people.box_scores
    plain = people.box_scores * people.scores.mean(axis=1)
    return np.maximum(instance_scores(people.scores, people.box_scores), 1e-6 * plain)


def _people(predictions: Predictions, areas: Floats | None, *, own: bool) -> People:
    """Everybody, of all frames."""
    present, weights = predictions.present, np.nan_to_num(predictions.box_scores, nan=1.0)
    if own:
        weights = np.maximum(weights, 0.0)  # offsets let some be a little less
    joints = np.where(present[:, :, None], predictions.joints, np.nan)
    scores = np.where(present, np.nan_to_num(predictions.scores), 0.0)
    if not own:
        scores = np.divide(scores, weights[:, None], out=np.zeros_like(scores), where=weights[:, None] > 0)
    boxes = pose_boxes(predictions.boxes, joints)
    if areas is None:
        sides = boxes[:, 2:] - boxes[:, :2]
        # nobody gave a box, so that of one joint, or of joints in a line, is as good as any: a px wide
        areas = (np.maximum(sides, 1.0) if own else sides).prod(axis=1)
    if not (areas > 0).all():
        row = int(np.flatnonzero(~(areas > 0))[0])
        raise DataError(
            f"{predictions.sequence_names[predictions.sequence[row]]}, frame {predictions.frame[row]}, person "
            f"{predictions.person[row]}: the area is {areas[row]:g} px^2; suppression needs boxes with an extent"
        )
    return People(joints, scores, boxes, weights, areas, predictions.skeleton, own)


def _rebuilt(
    predictions: Predictions, survivors: list[tuple[NDArray[np.int64], Survivors]], *, own: bool
) -> Predictions:
    """The predictions of those who are left; `survivors` are the rows of a frame and what a rule left of them."""
    joints, scores, box_scores = predictions.joints.copy(), predictions.scores.copy(), predictions.box_scores.copy()
    present, kept = predictions.present.copy(), np.zeros(len(predictions), dtype=bool)
    for rows, left in survivors:
        mine = rows[left.rows]
        kept[mine] = True
        box_scores[mine] *= left.factor
        scores[mine] *= left.factor[:, None]
        if left.joints is not None and left.scores is not None:
            found = ~np.isnan(left.joints).any(axis=2)
            present[mine], joints[mine] = found, np.where(found[:, :, None], left.joints, joints[mine])
            merged = left.scores if own else left.scores * np.nan_to_num(box_scores[mine], nan=1.0)[:, None]
            scores[mine] = np.where(np.isnan(scores[mine]), np.nan, merged)
    changed = replace(predictions, box_scores=box_scores, joints=joints, scores=scores, present=present)
    return only(changed, np.flatnonzero(kept))
