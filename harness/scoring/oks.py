"""OKS AP as COCO counts it, through xtcocotools; ours for PoseTrack, where no published table uses it.

Source: specification of OKS AP. Values are percent. Sigmas are explicit and recorded. Metrics: `ap`, `ap50`, `ap75`,
`apm`, `apl`, `ar`, `ar50`, `ar75`, `arm`, `arl`; with joint names, `ap` of one joint alone.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from collections.abc import Sequence as Series
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import Sequence
from harness.errors import HarnessError
from harness.predictions import Predictions
from harness.scoring.cleaning import regions_by_frame, with_frames
from harness.scoring.poseval import check_not_empty
from harness.scoring.scene import UNSCORED, Scene, ignored_joints, stack
from harness.scoring.scores import TOTAL, Score, Scores
from harness.skeletons import OKS_SIGMAS, POSETRACK15, POSETRACK17

__all__ = ["METRICS", "NAME", "OksOptions", "oks_json", "oks_statistics", "score_oks"]

NAME = "oks"

#: What COCO reports, in its order.
METRICS = ("ap", "ap50", "ap75", "apm", "apl", "ar", "ar50", "ar75", "arm", "arl")

_COLUMNS = POSETRACK17.positions_of(POSETRACK15)


@dataclass(frozen=True)
class OksOptions:
    """What COCO leaves open.

    `sigmas` by joint name. `use_area` takes the person box's area as the person's (PoseTrack files state none);
    otherwise xtcocotools' 0.53 of it. `labelled_only` leaves out unlabelled frames, where every detection would be a
    false positive. `occluded` counts annotated joints that are flagged occluded. `ignore_regions` removes what lies in
    ignore regions, which COCO does not know. `person_score` "joints" is the mean score of a person's joints, "person"
    the score stored with the person.
    """

    sigmas: Mapping[str, float] = field(default_factory=lambda: dict(OKS_SIGMAS))
    use_area: bool = False
    labelled_only: bool = True
    occluded: bool = True
    ignore_regions: bool = False
    person_score: str = "joints"
    max_detections: int = 20
    per_joint: bool = False


def score_oks(
    sequences: Series[Sequence],
    predictions: Predictions,
    *,
    compat: str = "official",
    per_sequence: bool = False,
    tracking: bool | None = None,
    options: OksOptions | None = None,
    crowd: Series[NDArray[np.bool_]] | None = None,
) -> Scores:
    """OKS AP and AR over all sequences (and, with `per_sequence`, of each).

    `crowd` holds, per sequence, which truth people are crowds (iscrowd); a person without a counted joint is ignored
    either way. `compat` and `tracking` have no meaning here.
    """
    options = options or OksOptions()
    scene = _scene(sequences, predictions, options)
    check_not_empty(scene)
    arrays = _arrays(scene, sequences, predictions, options, crowd)
    entries = _rows("all", scene, arrays, options, np.ones(scene.frame_count, dtype=bool))
    for number in np.unique(scene.frame_sequence).tolist() if per_sequence else []:
        name = f"sequence:{scene.sequence_names[number]}"
        entries += _rows(name, scene, arrays, options, scene.frame_sequence == number)
    facts = {
        "frames": scene.frame_count,
        "people": len(scene.truth),
        "predicted_people": len(scene.predicted),
        "oks": asdict(options),
    }
    return Scores(tuple(entries), scene.warnings, facts)


def oks_json(scores: Scores) -> dict[str, Any]:
    """Percent by metric, NaN as None; `joints` where single joints were scored."""
    own = scores.select(protocol=NAME)
    found: dict[str, Any] = {row["metric"]: row["value"] for row in own.select(slice="all", joint=TOTAL).rows}
    joints = {row["joint"]: row["value"] for row in own.select(slice="all", metric="ap").rows if row["joint"] != TOTAL}
    return found | ({"joints": joints} if joints else {})


def oks_statistics(
    truth: Mapping[str, Any], detections: list[dict[str, Any]], options: OksOptions
) -> NDArray[np.float64]:
    """(10,) fractions in the order of `METRICS` for a COCO document and a result list; NaN where undefined.

    Raises HarnessError saying what to install where xtcocotools cannot be loaded.
    """
    coco, evaluation_type = _xtcocotools()
    with contextlib.redirect_stdout(io.StringIO()):
        document = _indexed(coco, truth)
        results = document.loadRes(detections)
        sigmas = np.array([options.sigmas[name] for name in POSETRACK17.names])
        evaluation = evaluation_type(document, results, "keypoints", sigmas, use_area=options.use_area)
        evaluation.params.maxDets = [options.max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return _summary(evaluation.eval["precision"], evaluation.eval["recall"])


def _summary(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    """(10,) means in the order of `METRICS`; the library's own are of 20 detections, whatever was evaluated.

    First axis: the thresholds 0.50, 0.55 ... 0.95; the last two: people of any size, medium and large, and the one
    limit of detections. All of a part is -1 where there is nobody to be found.
    """
    parts = []
    for table in (precision, recall):
        everyone, medium, large = (table[..., size, 0] for size in range(3))
        parts += [everyone, everyone[0], everyone[5], medium, large]
    values = np.array([part.ravel().mean() for part in parts])
    return np.where(values < 0, np.nan, values)


def _xtcocotools() -> tuple[Any, Any]:
    try:
        from xtcocotools.coco import COCO
        from xtcocotools.cocoeval import COCOeval
    except (ImportError, ValueError) as error:
        raise HarnessError(
            f"OKS needs xtcocotools, which does not load here ({error}). Its wheels are built against numpy 1: install "
            "with the pinned versions (pip install -c constraints.txt ...) or build it: "
            "pip install --no-binary xtcocotools xtcocotools"
        ) from None
    return COCO, COCOeval


def _indexed(coco: Any, dataset: Mapping[str, Any]) -> Any:
    document = coco()
    document.dataset = dict(dataset)
    document.createIndex()
    return document


@dataclass(frozen=True)
class _Arrays:
    """Both sides in POSETRACK17 order: keypoints (N,17,3) with third value 1 where the joint counts."""

    truth: NDArray[np.float64]
    boxes: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    predicted: NDArray[np.float64]
    joint_scores: NDArray[np.float64]
    person_scores: NDArray[np.float64]


def _scene(sequences: Series[Sequence], predictions: Predictions, options: OksOptions) -> Scene:
    scene = stack(sequences, predictions)
    if options.labelled_only:
        scene = with_frames(scene, np.concatenate([sequence.labelled for sequence in sequences]))
    if options.ignore_regions:
        regions = regions_by_frame(scene, sequences)
        sides = [
            side.without(ignored_joints(side, regions, scene.frame_count)) for side in (scene.truth, scene.predicted)
        ]
        scene = replace(scene, truth=sides[0], predicted=sides[1])
    return scene


def _arrays(
    scene: Scene,
    sequences: Series[Sequence],
    predictions: Predictions,
    options: OksOptions,
    crowd: Series[NDArray[np.bool_]] | None,
) -> _Arrays:
    starts = np.cumsum([0, *(len(sequence.truth) for sequence in sequences)])[:-1]
    rows = starts[scene.frame_sequence[scene.truth.frame]] + scene.truth.row
    counted = scene.truth.present
    if not options.occluded:
        counted = counted & np.concatenate([_visible(sequence) for sequence in sequences])[rows]
    boxes = np.concatenate([sequence.truth.boxes for sequence in sequences])[rows]
    present = scene.predicted.present
    scored = np.where(present & (scene.scores != UNSCORED), scene.scores, 0.0)
    means = scored.sum(axis=1) / np.maximum(1, present.sum(axis=1))
    person_scores = predictions.box_scores[scene.predicted.row] if options.person_score == "person" else means
    return _Arrays(
        truth=_keypoints(scene.truth.x, scene.truth.y, counted),
        boxes=_as_coco(boxes, scene),
        crowd=np.zeros(len(rows), dtype=bool) if crowd is None else np.concatenate(list(crowd))[rows],
        predicted=_keypoints(scene.predicted.x, scene.predicted.y, present),
        joint_scores=scored,
        person_scores=np.nan_to_num(person_scores, nan=0.0),
    )


def _as_coco(boxes: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
    """(N,4) x, y, width, height; the extent of the joints where the file gives no box."""
    lacking = np.isnan(boxes).any(axis=1) & scene.truth.present.any(axis=1)
    boxes = np.nan_to_num(boxes)
    if lacking.any():
        x, y = scene.truth.x[lacking], scene.truth.y[lacking]
        boxes[lacking] = np.stack([values for find in (np.nanmin, np.nanmax) for values in (find(x, 1), find(y, 1))], 1)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _visible(sequence: Sequence) -> NDArray[np.bool_]:
    truth = sequence.truth
    seen: NDArray[np.bool_] = truth.annotated if truth.visible is None else truth.visible
    return seen[:, sequence.skeleton.positions_of(POSETRACK15)]


def _keypoints(x: NDArray[np.float64], y: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    points = np.zeros((len(x), len(POSETRACK17), 3))
    values = np.stack([np.nan_to_num(x), np.nan_to_num(y), counted.astype(np.float64)], axis=2)
    points[:, _COLUMNS] = values
    return points


def _rows(slice: str, scene: Scene, arrays: _Arrays, options: OksOptions, frames: NDArray[np.bool_]) -> list[Score]:
    truth = np.flatnonzero(frames[scene.truth.frame])
    predicted = np.flatnonzero(frames[scene.predicted.frame] & scene.predicted.present.any(axis=1))
    images = np.flatnonzero(frames)
    document = _document(scene, arrays, images, truth, arrays.truth[truth])
    detections = _detections(scene, arrays, predicted, arrays.person_scores[predicted])
    values = 100 * oks_statistics(document, detections, options)
    sizes = (len(truth), len(predicted))
    rows = [
        Score(NAME, metric, slice, TOTAL, float(value), *sizes) for metric, value in zip(METRICS, values, strict=True)
    ]
    return rows + (_joint_rows(slice, scene, arrays, options, frames) if options.per_joint else [])


def _joint_rows(
    slice: str, scene: Scene, arrays: _Arrays, options: OksOptions, frames: NDArray[np.bool_]
) -> list[Score]:
    """AP of one joint at a time: people who lack it are left out on either side, its own score ranks."""
    rows = []
    for number, joint in enumerate(POSETRACK15.names):
        column = POSETRACK17.index(joint)
        truth = np.flatnonzero(frames[scene.truth.frame] & (arrays.truth[:, column, 2] > 0))
        predicted = np.flatnonzero(frames[scene.predicted.frame] & scene.predicted.present[:, number])
        points = arrays.truth[truth].copy()
        points[:, np.arange(len(POSETRACK17)) != column, 2] = 0
        document = _document(scene, arrays, np.flatnonzero(frames), truth, points)
        detections = _detections(scene, arrays, predicted, arrays.joint_scores[predicted, number])
        value = 100 * float(oks_statistics(document, detections, options)[0])
        rows.append(Score(NAME, "ap", slice, joint, value, len(truth), len(predicted)))
    return rows


def _document(
    scene: Scene,
    arrays: _Arrays,
    images: NDArray[np.int64],
    rows: NDArray[np.int64],
    points: NDArray[np.float64],
) -> dict[str, Any]:
    """A COCO document; image ids are scene frames."""
    boxes = arrays.boxes[rows]
    columns = zip(
        scene.truth.frame[rows].tolist(),
        points.reshape(len(rows), len(POSETRACK17) * 3).tolist(),
        boxes.tolist(),
        (boxes[:, 2] * boxes[:, 3]).tolist(),
        arrays.crowd[rows].astype(int).tolist(),
        (points[:, :, 2] > 0).sum(axis=1).tolist(),
        strict=True,
    )
    people = [
        {
            "id": number, "image_id": image, "category_id": 1, "keypoints": keypoints, "bbox": box, "area": area,
            "iscrowd": crowd, "num_keypoints": joints,
        }
        for number, (image, keypoints, box, area, crowd, joints) in enumerate(columns, start=1)
    ]  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(POSETRACK17.names)}
    return {"images": [{"id": image} for image in images.tolist()], "annotations": people, "categories": [category]}


def _detections(
    scene: Scene, arrays: _Arrays, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> list[dict[str, Any]]:
    columns = zip(
        scene.predicted.frame[rows].tolist(),
        arrays.predicted[rows].reshape(len(rows), len(POSETRACK17) * 3).tolist(),
        scores.tolist(),
        strict=True,
    )
    return [
        {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}
        for image, keypoints, score in columns
    ]
