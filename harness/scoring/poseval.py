"""The poseval protocol: the official numbers of PoseTrack17 and 18, as rows.

Values are percent, exactly as poseval computes them (every float64 bit). Metrics: `ap`, `precision`, `recall`.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from typing import Any

import numpy as np

from harness.datasets.sequences import Sequence
from harness.errors import DataError
from harness.predictions import Predictions
from harness.scoring.average_precision import PrecisionRecall, counted, of_sequence, precision_recall
from harness.scoring.cleaning import poseval_scene
from harness.scoring.matching import MatchTable, match
from harness.scoring.scene import UNSCORED, Scene
from harness.scoring.scores import Score, Scores, joint_rows

__all__ = ["NAME", "poseval_json", "score_poseval"]

NAME = "poseval"


def score_poseval(
    sequences: Series[Sequence], predictions: Predictions, *, compat: str = "official", per_sequence: bool = False
) -> Scores:
    """AP, precision and recall per joint and total, overall and (with `per_sequence`) for every sequence.

    Raises DataError as `poseval_scene` does, and when no frame of the truth has people.
    """
    table = match(poseval_scene(sequences, predictions, compat=compat))
    check_not_empty(table.scene)
    joints = counted(table)
    overall = precision_recall(joints)
    entries = ap_rows(NAME, "all", overall)
    if per_sequence:
        truth = np.zeros((len(table.scene.sequence_names), 15), dtype=np.int64)
        np.add.at(truth, table.truth_sequence, table.scene.truth.present)
        for number in np.unique(table.scene.frame_sequence).tolist():
            own = (of_sequence(events, number, int(truth[number, j])) for j, events in enumerate(joints))
            entries += ap_rows(NAME, f"sequence:{table.scene.sequence_names[number]}", precision_recall(own))
    return Scores(tuple(entries), table.scene.warnings + warnings_of(table, overall), facts_of(table, compat))


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
    if values.low[-1] < values.high[-1]:
        found.append(
            f"equal scores: total AP lies between {values.low[-1]:.2f} and {values.high[-1]:.2f} depending on their "
            f"order; {values.ap[-1]:.2f} is for ours (later in the file first), upstream's order is not reproducible"
        )
    present = scene.predicted.present
    unscored = int((scene.scores[present] == UNSCORED).sum())
    if unscored:
        found.append(f"{unscored} of {int(present.sum())} predicted joints have no score and rank last")
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
    }


def poseval_json(scores: Scores) -> dict[str, Any]:
    """The machine-readable object: `ap`, `precision`, `recall` by joint and `groups`, percent, NaN as None."""
    named = {metric: scores.by_joint(metric, slice="all", protocol=NAME) for metric in ("ap", "precision", "recall")}
    found: dict[str, Any] = {metric: _plain(values) for metric, values in named.items()}
    return found | {"groups": _plain(scores.groups("ap", protocol=NAME))}


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in values.items()}
