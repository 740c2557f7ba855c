"""The poseval protocol: the official numbers of PoseTrack17 and 18, as rows.

Values are percent, exactly as poseval computes them (every float64 bit). Metrics: `ap`, `precision`, `recall`; where
everybody has a track id also `mota`, `motp` (as published before October 2020), `motp_head` (as poseval's main branch
prints it since, inflated), `mot_precision`, `mot_recall`.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from typing import Any

import numpy as np

from harness.datasets.sequences import Sequence
from harness.errors import DataError, listed
from harness.predictions import Predictions
from harness.scoring.average_precision import PrecisionRecall, by_sequence, counted, precision_recall
from harness.scoring.cleaning import poseval_scene, with_frames
from harness.scoring.matching import MatchTable, match
from harness.scoring.scene import UNSCORED, Scene
from harness.scoring.scores import Score, Scores, joint_rows
from harness.scoring.tracking import Tracking, count_tracking, tracked
from harness.scoring.tracking import tracking as compute_tracking
from harness.skeletons import POSETRACK15

__all__ = [
    "NAME",
    "ap_rows",
    "check_not_empty",
    "facts_of",
    "plain",
    "poseval_json",
    "score_poseval",
    "tracks_wanted",
    "warnings_of",
    "without_last_frames",
]

NAME = "poseval"

#: Bounds over tie orders closer than this (percent points) are no warning: they print alike.
_VISIBLE = 0.01

#: Upstream asserts that track ids are below this.
TRACK_LIMIT = 10000


def score_poseval(
    sequences: Series[Sequence],
    predictions: Predictions,
    *,
    compat: str = "official",
    per_sequence: bool = False,
    tracking: bool | None = None,
) -> Scores:
    """AP and tracking per joint and total, overall and (with `per_sequence`) for every sequence.

    `tracking` None means where everybody has a track id. `compat="official"` drops the last frame of every sequence
    from tracking and adds upstream's dummies, "fixed" counts every frame and every person.
    Raises DataError as `poseval_scene` does, when no frame of the truth has people, and when tracking is asked for and
    somebody has no track id.
    """
    scene = poseval_scene(sequences, predictions, compat=compat)
    check_not_empty(scene)
    scores = _ap_scores(scene, compat, per_sequence)
    return scores + _tracking_scores(scene, compat, per_sequence) if tracks_wanted(scene, tracking) else scores


def _ap_scores(scene: Scene, compat: str, per_sequence: bool) -> Scores:
    table = match(scene)
    joints = counted(table)
    overall = precision_recall(joints)
    entries = ap_rows(NAME, "all", overall)
    parts = by_sequence(joints, table.truth_by_sequence) if per_sequence else {}
    for number in np.unique(table.scene.frame_sequence).tolist() if per_sequence else []:
        entries += ap_rows(NAME, f"sequence:{table.scene.sequence_names[number]}", precision_recall(parts[number]))
    return Scores(tuple(entries), table.scene.warnings + warnings_of(table, overall), facts_of(table, compat))


def tracks_wanted(scene: Scene, tracking: bool | None) -> bool:
    """Whether to track; None asks the scene."""
    return tracked(scene) if tracking is None else tracking


def _tracking_scores(scene: Scene, compat: str, per_sequence: bool) -> Scores:
    walked, warnings = (without_last_frames(scene), _lost_sequences(scene)) if compat == "official" else (scene, ())
    counts = count_tracking(walked, dummies=compat == "official")
    entries = _tracking_rows("all", compute_tracking(counts))
    if per_sequence:
        for number in np.unique(walked.frame_sequence).tolist():
            values = compute_tracking(counts, rows=np.array([number]))
            entries += _tracking_rows(f"sequence:{scene.sequence_names[number]}", values)
    high = int(max(scene.truth.track_ids.max(initial=0), scene.predicted.track_ids.max(initial=0)))
    if high >= TRACK_LIMIT:
        warnings += (f"track id {high} is not below {TRACK_LIMIT}; upstream's programs refuse such files",)
    return Scores(tuple(entries), warnings)


def without_last_frames(scene: Scene) -> Scene:
    """The scene lacking the last evaluated frame of every sequence, which upstream's tracking never sees."""
    return with_frames(scene, np.diff(scene.frame_sequence, append=-1) == 0)


def _lost_sequences(scene: Scene) -> tuple[str, ...]:
    frames = np.bincount(scene.frame_sequence, minlength=len(scene.sequence_names))
    single = [scene.sequence_names[number] for number in np.flatnonzero(frames == 1)]
    if not single:
        return ()
    return (
        f"tracking leaves out {len(single)} sequence(s) with one evaluated frame ({listed(single)}): upstream drops "
        f"the last frame of every sequence and crashes on these; compat 'fixed' counts them",
    )


def _tracking_rows(slice: str, values: Tracking) -> list[Score]:
    columns = {
        "mota": values.mota,
        "motp": values.motp,
        "motp_head": values.motp_head,
        "mot_precision": values.precision,
        "mot_recall": values.recall,
    }
    counts = {"n_truth": values.n_truth, "n_predicted": values.n_predicted}
    return [row for metric, column in columns.items() for row in joint_rows(NAME, metric, slice, column, **counts)]


def ap_rows(protocol: str, slice: str, values: PrecisionRecall) -> list[Score]:
    """Rows of AP (bounded over tie orders where scores are tied), precision and recall."""
    counts = {"n_truth": values.n_truth, "n_predicted": values.n_predicted}
    bounded = not np.array_equal(values.low, values.high, equal_nan=True)
    bounds = {"low": values.low, "high": values.high} if bounded else {}
    return [
        *joint_rows(protocol, "ap", slice, values.ap, **counts, **bounds),
        *joint_rows(protocol, "precision", slice, values.precision, **counts),
        *joint_rows(protocol, "recall", slice, values.recall, **counts),
    ]


def check_not_empty(scene: Scene) -> None:
    """Raise DataError for a truth without a single person to find."""
    if not len(scene.truth):
        raise DataError(
            f"nothing to score: no frame of the {len(scene.sequence_names)} sequences has an annotated person; "
            "test splits have no public labels, export a submission instead"
        )


def warnings_of(table: MatchTable, values: PrecisionRecall) -> tuple[str, ...]:
    """Sentences for what makes the numbers doubtful: ties, missing scores, predictions nowhere near the truth."""
    scene, found = table.scene, []
    if values.high[-1] - values.low[-1] > _VISIBLE:
        found.append(
            f"equal scores: total AP lies between {values.low[-1]:.2f} and {values.high[-1]:.2f} depending on their "
            f"order; {values.ap[-1]:.2f} is for ours (later in the file first), upstream's order is not reproducible"
        )
    present = scene.predicted.present
    unscored = int((scene.scores[present] == UNSCORED).sum())
    if unscored:
        found.append(f"{unscored} of {int(present.sum())} predicted joints have no score and rank last")
    absent = [name for name, count in zip(POSETRACK15.names, values.n_truth[:-1], strict=True) if not count]
    if absent:
        found.append(
            f"never annotated: {listed(absent)}; upstream counts such a joint as 0 where it is never predicted, so "
            "that even the truth scores below 100"
        )
    if not len(scene.predicted):
        found.append("no pose was predicted in any evaluated frame")
    elif not table.hit.any():
        found.append(
            "no predicted joint lies near any annotated one: check the joint order, the frame numbering and the image "
            "size of the predictions"
        )
    return tuple(found)


def facts_of(table: MatchTable, compat: str) -> dict[str, Any]:
    """What to print beside the numbers: label releases differ in their counts."""
    scene = table.scene
    return {
        "compat": compat,
        "sequences": len(np.unique(scene.frame_sequence)),
        "frames": scene.frame_count,
        "people": len(scene.truth),
        "predicted_people": len(scene.predicted),
        "matched_people": int((table.truth_of >= 0).sum()),
        "predicted_joints": int(scene.predicted.present.sum()),
        "found_joints": int(table.hit.sum()),
    }


def poseval_json(scores: Scores) -> dict[str, Any]:
    """The machine-readable object: `ap`, `precision`, `recall` by joint and `groups`, percent, NaN as None.

    Where tracking was scored, `mot` holds `mota`, `motp`, `motp_head`, `precision`, `recall` and its own `groups`.
    """
    own = scores.select(protocol=NAME)
    found: dict[str, Any] = {metric: plain(own.by_joint(metric)) for metric in ("ap", "precision", "recall")}
    found["groups"] = plain(own.groups("ap"))
    if own.by_joint("mota"):
        names = {"mota": "mota", "motp": "motp", "motp_head": "motp_head"}
        names |= {"precision": "mot_precision", "recall": "mot_recall"}
        found["mot"] = {key: plain(own.by_joint(metric)) for key, metric in names.items()}
        found["mot"]["groups"] = plain(own.groups("mota"))
    return found


def plain(values: dict[str, float]) -> dict[str, float | None]:
    """Values for JSON: NaN as None."""
    return {name: None if np.isnan(value) else value for name, value in values.items()}
