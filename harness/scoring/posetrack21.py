"""The protocol of the PoseTrack21 kit: mAP and the pose HOTA family, as rows in percent.

Source: specification of poseval, section 10. Metrics: `ap`, `precision`, `recall`; where everybody has a track id also
`hota`, `deta`, `assa` and the others of `harness.scoring.hota.FIELDS` (means over the 19 thresholds).
`compat="official"` keeps the kit's known faults: scores of all-integer frames are truncated, and a frame without
predictions counts the misses of the whole sequence (HOTA). "fixed" does neither.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import Sequence
from harness.predictions import Predictions
from harness.scoring.average_precision import PrecisionRecall, by_sequence, counted, precision_recall
from harness.scoring.cleaning import check_heads, check_unique_tracks, regions_by_frame, with_frames, with_people
from harness.scoring.hota import FIELDS, Hota, count_hota, hota
from harness.scoring.matching import match
from harness.scoring.poseval import ap_rows, check_not_empty, facts_of, plain, tracks_wanted, warnings_of
from harness.scoring.scene import People, Scene, ignored_joints, stack
from harness.scoring.scores import Score, Scores, joint_rows
from harness.skeletons import POSETRACK15, POSETRACK21_15

__all__ = ["NAME", "hota_json", "posetrack21_scene", "score_posetrack21"]

NAME = "posetrack21"

#: The kit averages the joints in its own order, which decides the last bit.
KIT_ORDER = POSETRACK15.positions_of(POSETRACK21_15)


def posetrack21_scene(sequences: Series[Sequence], predictions: Predictions, *, compat: str = "official") -> Scene:
    """The scene the kit evaluates: labelled frames, joints with x > 0 and y > 0, nothing inside ignore regions.

    Raises DataError where two people of a frame share a track id or a truth person has no head box. A labelled frame
    without people crashes the kit; here its predictions are false positives, with a warning.
    """
    scene = stack(sequences, predictions)
    if compat == "official":
        scene = replace(scene, scores=_truncated(scene, predictions))
    scene = with_frames(scene, np.concatenate([sequence.labelled for sequence in sequences]))
    for noun, side in (("annotated people", scene.truth), ("predictions", scene.predicted)):
        check_unique_tracks(scene, side, noun, sequences)
    scene = _without_ignored(scene, sequences)
    scene = replace(scene, truth=_positive(scene.truth), predicted=_positive(scene.predicted))
    check_heads(scene, sequences)
    empty = scene.frame_count - len(np.unique(scene.truth.frame))
    if empty:
        text = f"{empty} labelled frame(s) have nobody to find; the PoseTrack21 kit crashes on these"
        scene = replace(scene, warnings=(*scene.warnings, text))
    return scene


def score_posetrack21(
    sequences: Series[Sequence],
    predictions: Predictions,
    *,
    compat: str = "official",
    per_sequence: bool = False,
    tracking: bool | None = None,
) -> Scores:
    """mAP and pose HOTA, overall and (with `per_sequence`) for every sequence; `tracking` None: where ids exist."""
    scene = posetrack21_scene(sequences, predictions, compat=compat)
    check_not_empty(scene)
    table = match(scene)
    joints = counted(table)
    overall = precision_recall(joints, empty_recall=0.0, order=KIT_ORDER)
    entries = ap_rows(NAME, "all", overall)
    counts = count_hota(scene, compat=compat) if tracks_wanted(scene, tracking) else None
    if counts is not None:
        entries += _hota_rows("all", hota(counts), overall)
    parts = by_sequence(joints, table.truth_by_sequence) if per_sequence else {}
    for number in np.unique(scene.frame_sequence).tolist() if per_sequence else []:
        slice = f"sequence:{scene.sequence_names[number]}"
        values = precision_recall(parts[number], empty_recall=0.0, order=KIT_ORDER)
        entries += ap_rows(NAME, slice, values)
        if counts is not None:
            entries += _hota_rows(slice, hota(counts, rows=np.array([number]), mean_total=True), values)
    return Scores(tuple(entries), scene.warnings + warnings_of(table, overall), facts_of(table, compat))


def hota_json(scores: Scores) -> dict[str, Any]:
    """Percent by field and joint (and "total"), NaN as None; empty where HOTA was not scored."""
    own = scores.select(protocol=NAME)
    return {name: plain(own.by_joint(name)) for name in FIELDS if own.by_joint(name)}


def _hota_rows(slice: str, values: Hota, ap: PrecisionRecall) -> list[Score]:
    counts = {"n_truth": ap.n_truth, "n_predicted": ap.n_predicted}
    return [
        row for name in FIELDS for row in joint_rows(NAME, name, slice, 100 * values.mean_over_alphas(name), **counts)
    ]


def _truncated(scene: Scene, predictions: Predictions) -> NDArray[np.float64]:
    """Scores, cut to integers in frames where every number of every predicted person was written as an integer."""
    if predictions.whole_numbers is None or not len(scene.predicted):
        return scene.scores
    odd = np.bincount(scene.predicted.frame, weights=~predictions.whole_numbers[scene.predicted.row])
    whole = odd[scene.predicted.frame] == 0
    return np.where(whole[:, None], np.trunc(scene.scores), scene.scores)


def _without_ignored(scene: Scene, sequences: Series[Sequence]) -> Scene:
    """Joints inside a region go, then, in frames that have regions, people without any positive coordinate."""
    regions = regions_by_frame(scene, sequences)
    if not regions:
        return scene
    has_region = np.zeros(scene.frame_count, dtype=bool)
    has_region[list(regions)] = True
    sides = [side.without(ignored_joints(side, regions, scene.frame_count)) for side in (scene.truth, scene.predicted)]
    kept = [~has_region[side.frame] | ((side.x > 0) | (side.y > 0)).any(axis=1) for side in sides]
    return with_people(replace(scene, truth=sides[0], predicted=sides[1]), *kept)


def _positive(people: People) -> People:
    return people.without(~((people.x > 0) & (people.y > 0)))
