"""The label file of one video -> what a file of another data set is written from, with nothing lost on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.columns import NO_NUMBER, Columns
from harness.datasets.sequences import Frame, Sequence
from harness.datasets.writing import ENCODINGS, Video, encoded, side
from harness.errors import DataError
from harness.skeletons import POSETRACK17

__all__ = ["ImageIds", "Source", "foreign", "image_id", "put_back", "records_of", "video_of"]

Record = dict[str, Any]
Array = NDArray[np.float64]

_NAME = re.compile(r"(\d{1,6})_(mpiinew|mpii|bonn)")
_KINDS = {"mpii": 1, "bonn": 2, "mpiinew": 3}
_EARS = [POSETRACK17.index(name) for name in ("left_ear", "right_ear")]
_POINT = {"id", "x", "y", "is_visible", "score"}

#: Layout -> fields that are translated: of a frame, of a person.
_TRANSLATED = {
    "annolist": (
        {"image", "is_labeled", "ignore_regions", "annorect"},
        {"x1", "y1", "x2", "y2", "track_id", "score", "annopoints"},
    ),
    "images": (
        {"file_name", "is_labeled", "ignore_regions_x", "ignore_regions_y"},
        {"image_id", "keypoints", "bbox_head", "head_box", "track_id", "scores", "score", "visibility", "is_visible"},
    ),
}

#: Layout -> fields that are made up where there are none.
_MADE_UP: dict[str, tuple[set[str], set[str]]] = {
    "annolist": ({"imgnum"}, set()),
    "images": ({"id", "frame_id", "vid_id", "nframes", "has_labeled_person"}, {"id", "category_id"}),
}

#: Data set -> fields its releases and their common conversions have besides the translated ones.
_OWN: dict[str, tuple[set[str], set[str]]] = {
    "posetrack17": _MADE_UP["annolist"],
    "posetrack18": (
        {"id", "frame_id", "vid_id", "nframes", "width", "height", "has_no_densepose", "mask_file"},
        {"id", "category_id", "bbox", "area", "iscrowd", "num_keypoints", "segmentation"},
    ),
}
_OWN["posetrack21"] = (_OWN["posetrack18"][0] | {"has_labeled_person"}, _OWN["posetrack18"][1] | {"person_id"})


#: Fields of the whole file that are translated; others are carried.
_TOP = {"annolist", "images", "annotations", "categories", "converted_from"}


@dataclass(frozen=True)
class Source:
    """One video as its file has it: `name` of the data set, the people of `columns` and `sequence` in one order."""

    name: str
    split: str
    sequence: Sequence
    document: Record
    columns: Columns


@dataclass
class ImageIds:
    """Image ids that differ over all videos: T SSSSSS FFFF, or 9 and a running number where the name allows none."""

    taken: dict[int, str] = field(default_factory=dict)
    made_up: int = 0

    def of(self, video: str, indices: list[int]) -> list[int]:
        """The ids of a video's frames."""
        named = [image_id(video, index) for index in indices]
        ids = [number for number in named if number is not None]
        if len(ids) == len(indices) and (not ids or self.taken.setdefault(ids[0] // 10_000, video) == video):
            return ids
        self.made_up += 1
        return [int(f"9{self.made_up:06d}{index:04d}") for index in indices]


def image_id(video: str, index: int) -> int | None:
    """PoseTrack18's T SSSSSS FFFF (T: 1 mpii, 2 bonn, 3 mpiinew); None where the name or number does not allow it.

    >>> image_id("012834_mpii_test", 7), image_id("dance", 7)
    (10128340007, None)
    """
    found = _NAME.match(video)
    if found is None or not 0 <= index <= 9999:
        return None
    return int(f"{_KINDS[found[2]]}{int(found[1]):06d}{index:04d}")


def video_of(source: Source, target: str, ids: ImageIds) -> Video:
    """What a file of data set `target` is written from; `put_back` then completes its records.

    DataError for a file in which two images have one id.
    """
    before = source.document.get("converted_from") or {}
    returning = before.get("data_set") == target
    sequence = _numbered(source.sequence)
    raw_frames, raw_people = records_of(source.document, sequence.source)
    seen = _seen(source, raw_people)
    annotated = _representable(sequence, target)
    made_up = before.get("made_up") if returning else None
    frames = _carried(raw_frames, _TRANSLATED[source.columns.layout][0], made_up and made_up["frames"])
    people = _carried(raw_people, _TRANSLATED[source.columns.layout][1], made_up and made_up["people"])
    third = _best_encoding(source, annotated, seen)
    _keep_names(source, sequence, raw_frames, frames, target)
    if source.columns.layout == "annolist":
        _keep_odd_points(source, raw_people, people, target)
    else:
        _keep_odd_people(source, raw_people, people, encoded(source.columns.joints, annotated, seen, third), target)
    top = {key: value for key, value in source.document.items() if key not in _TOP}
    if not returning:
        origin = {"data_set": source.name, "third_value": third, "made_up": _made_up(frames, people, target)}
        top["converted_from"] = origin | ({"converted_from": before} if before else {})
    if target == "posetrack21" and not returning:
        peopled = set(sequence.truth.frame.tolist())
        frames = [{"has_labeled_person": at in peopled} | record for at, record in enumerate(frames)]
    if target == "posetrack17":
        sequence = replace(sequence, truth=replace(sequence.truth, annotated=annotated))
    return Video(
        sequence=sequence,
        images=[_image_name(target, source.split, sequence.name, frame) for frame in sequence.frames],
        image_ids=_ids(frames, sequence, ids),
        seen=seen,
        believed=sequence.truth.visible is not None,
        scores=source.columns.scores,
        person_scores=source.columns.person_scores,
        frames=frames,
        people=people,
        top=top,
        encoding=_encoding(before if returning else {}, target, sequence),
        completed=not returning,
    )


def records_of(document: Record, source: str) -> tuple[list[Record], list[Record]]:
    """The frames and the people of a file, people in the order of their frames."""
    if "annolist" in document:
        frames = document["annolist"]
        return frames, [person for frame in frames for person in frame.get("annorect") or []]
    frames = document["images"]
    places = {frame["id"]: position for position, frame in enumerate(frames)}
    if len(places) < len(frames):
        raise DataError(f"{source}: two images have one id; `harness data check` names them. Correct the file")
    return frames, sorted(document["annotations"], key=lambda person: places[person["image_id"]])


def put_back(record: Record, target: str, level: int) -> None:
    """Give a written frame (`level` 0) or person (1) what stands in its `original`, if that is of `target`."""
    original = record.get("original")
    if isinstance(original, dict) and original.get("of") == target:
        own = _TRANSLATED[_layout(target)][level]
        del record["original"]
        record.update({key: value for key, value in original.items() if key in own or key == "original"})


def foreign(record: Record, target: str, level: int) -> set[str]:
    """The fields of a written frame or person that no release of the data set has."""
    return set(record) - _TRANSLATED[_layout(target)][level] - _OWN[target][level]


def _layout(name: str) -> str:
    return "annolist" if name == "posetrack17" else "images"


def _numbered(sequence: Sequence) -> Sequence:
    """The sequence with frame numbers from 0 on where some are below, as raw images may have."""
    lowest = min((frame.index for frame in sequence.frames), default=0)
    if lowest >= 0:
        return sequence
    return replace(sequence, frames=tuple(replace(frame, index=frame.index - lowest) for frame in sequence.frames))


def _representable(sequence: Sequence, target: str) -> NDArray[np.bool_]:
    """(N,17) the joints that the target can hold: no ears in PoseTrack17, none at x <= 0 or y <= 0 in PoseTrack21."""
    annotated = sequence.truth.annotated.copy()
    if target == "posetrack17":
        annotated[:, _EARS] = False
    if target == "posetrack21":
        annotated &= (sequence.truth.joints > 0).all(axis=2)
    return annotated


def _seen(source: Source, people: list[Record]) -> Array:
    """(N,17) 1 visible, 0 occluded, NaN where nothing is said."""
    truth, columns = source.sequence.truth, source.columns
    if truth.visible is not None:
        flags = truth.visible.astype(float)
    elif columns.layout == "annolist":
        flags = np.where(np.isnan(columns.third), np.nan, columns.third != 0)
    else:
        unknown = [np.nan] * len(POSETRACK17)
        flags = np.array([person.get("is_visible") or unknown for person in people], dtype=float).reshape(-1, 17)
    return np.where(truth.annotated, flags, np.nan)


def _carried(records: list[Record], translated: set[str], made_up: list[str] | None) -> list[Record]:
    left_out = translated | set(made_up or ())
    return [{key: value for key, value in record.items() if key not in left_out} for record in records]


def _made_up(frames: list[Record], people: list[Record], target: str) -> dict[str, list[str]]:
    """The fields that the target gets although no record of the source has them; the way back leaves them out."""
    fields = _MADE_UP[_layout(target)]
    had = [set().union(*records) if records else set() for records in (frames, people)]
    return {"frames": sorted(fields[0] - had[0]), "people": sorted(fields[1] - had[1])}


def _best_encoding(source: Source, annotated: NDArray[np.bool_], seen: Array) -> str:
    """The meaning of the third value that fits the file best."""
    third = source.columns.third[annotated]
    fits = {
        name: int((np.where(seen[annotated] == 0, occluded, visible) == third).sum())
        for name, (visible, occluded) in ENCODINGS.items()
    }
    return max(fits, key=lambda name: fits[name])


def _encoding(before: Record, target: str, sequence: Sequence) -> str:
    """How third values are written: as they were `before`; else PoseTrack21's way where it is known who is occluded."""
    if before.get("third_value") in ENCODINGS:
        return str(before["third_value"])
    return "zero" if target == "posetrack21" and sequence.truth.visible is not None else "one"


def _keep_names(source: Source, sequence: Sequence, raw: list[Record], frames: list[Record], target: str) -> None:
    """Image names that do not follow from video and number, as those of raw PoseTrack17, are kept for the way back."""
    for record, carried, name, frame in zip(raw, frames, source.columns.images, sequence.frames, strict=True):
        odd = set(record["image"][0]) - {"name"} if isinstance(record.get("image"), list) else set()
        if odd or name != _image_name(source.name, source.split, sequence.name, frame):
            key = "image" if "image" in record else "file_name"
            _keep(carried, source.name, {key: record[key]}, target=target)


def _keep_odd_points(source: Source, raw: list[Record], people: list[Record], target: str) -> None:
    """Point lists that are not read whole: ids outside 0..14 or twice, further fields, flags on some points only."""
    counts = source.columns.present.sum(axis=1).tolist()
    for record, carried, count in zip(raw, people, counts, strict=True):
        points = (record.get("annopoints") or [{}])[0].get("point") or [] if count else []
        flagged = sum("is_visible" in point for point in points)
        if len(points) != count or flagged not in (0, count) or any(set(point) - _POINT for point in points):
            _keep(carried, source.name, {"annopoints": record["annopoints"]}, target=target)


def _keep_odd_people(source: Source, raw: list[Record], people: list[Record], expected: Array, target: str) -> None:
    columns = source.columns
    keypoints = np.concatenate([columns.joints, columns.third[..., None]], axis=2)
    for row in np.flatnonzero((keypoints != expected).any(axis=(1, 2)) & columns.has_points).tolist():
        _keep(people[row], source.name, {"keypoints": keypoints[row].reshape(-1).tolist()}, target=target)
    truth = source.sequence.truth
    if columns.visibility is not None and truth.visible is not None:
        flags = np.where(truth.annotated, truth.visible + 1, 0)
        for row in np.flatnonzero((columns.visibility != flags).any(axis=1)).tolist():
            own = {"visibility": raw[row]["visibility"]} if "visibility" in raw[row] else {}
            _keep(people[row], source.name, own, target=target)
    for record, carried, head in zip(raw, people, truth.head_boxes.tolist(), strict=True):
        given = record.get("bbox_head")
        if given and given != [head[0], head[1], side(head[0], head[2]), side(head[1], head[3])]:
            _keep(carried, source.name, {"bbox_head": given}, target=target)
        if record.get("scores") and target == "posetrack17":
            _keep(carried, source.name, {"scores": record["scores"]}, target=target)


def _keep(carried: Record, name: str, values: Record, *, target: str) -> None:
    """Note values of data set `name` in `original`, unless there are older ones that the target will take."""
    original = carried.get("original", {})
    if not values or original.get("of") == target:
        return
    if original.get("of") != name:
        original = {"of": name} | ({"original": original} if original else {})
    carried["original"] = original | values


def _image_name(target: str, split: str, video: str, frame: Frame) -> str:
    """`images/<source>/<video>/%08d.jpg` from 1 for PoseTrack17, `images/<split>/<video>/%06d.jpg` from 0 else."""
    suffix = PurePosixPath(frame.image).suffix
    if target != "posetrack17":
        return f"images/{split}/{video}/{frame.index:06d}{suffix}"
    found = _NAME.match(video)
    return f"images/{found[2] if found else split}/{video}/{frame.index + 1:08d}{suffix}"


def _ids(frames: list[Record], sequence: Sequence, ids: ImageIds) -> list[int]:
    """The ids the frames bring along, or new ones for all."""
    own = [frame.get("id") for frame in frames]
    if all(type(number) is int and number != NO_NUMBER for number in own):
        return [int(number) for number in own if number is not None]
    return ids.of(sequence.name, [frame.index for frame in sequence.frames])
