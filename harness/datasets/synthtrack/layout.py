"""One labelled scene as a PoseTrack21 JSON file, and its extras file (3D joints, occluders, blur, camera)."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from harness.datasets.synthtrack.body import JOINT_POINTS
from harness.datasets.synthtrack.labels import Labels, run_lengths
from harness.datasets.synthtrack.occlusion import OCCLUDERS
from harness.datasets.synthtrack.scene import Scene
from harness.skeletons import POSETRACK17

__all__ = ["HIDDEN", "VISIBLE", "extras_json", "posetrack_json"]

Array = NDArray[np.float64]

#: Third value of a keypoint: synthtrack declares COCO's encoding (0 not annotated, with x = y = 0).
VISIBLE, HIDDEN = 2, 1

#: 1-based bones, as every PoseTrack18 and 21 file states them.
_BONES = "16-14 14-12 17-15 15-13 12-13 6-12 7-13 6-7 6-8 7-9 8-10 9-11 2-3 1-2 1-3 2-4 3-5 4-6 5-7"
_CATEGORY = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": list(POSETRACK17.names),
    "skeleton": [[int(end) for end in bone.split("-")] for bone in _BONES.split()],
}
_TARGETS = [POSETRACK17.index(name) for name in JOINT_POINTS]


def posetrack_json(scene: Scene, labels: Labels, *, video: str, split: str) -> bytes:
    """The label file of one video; the same seed gives the same bytes."""
    number = video.split("_")[0]
    images, annotations = [], []
    for frame in range(scene.frames):
        image_id = int(f"1{number}{frame:04d}")
        images.append(_image(scene, labels, frame, image_id, video=video, split=split))
        for place, person in enumerate(np.flatnonzero(labels.annotated[frame])):
            annotations.append(_annotation(labels, frame, int(person), image_id, place, number))
    return orjson.dumps({"images": images, "annotations": annotations, "categories": [_CATEGORY]})


def extras_json(scene: Scene, labels: Labels, *, video: str) -> bytes:
    """What no loader may use and every diagnosis may: by (frame, person, joint), joints in the order of `joints`."""
    runs = run_lengths(labels.hidden & labels.inside)
    shutter = scene.shutter / 360
    people = [
        {
            "track_id": index, "person_id": _person_id(video.split("_")[0], index), "motion": person.kind,
            "change_at": _rounded(person.change, 3), "stature": _rounded(person.body.stature, 3),
            "heading": _rounded(person.heading, 1), "velocity": _rounded(person.path[2:], 3),
        }
        for index, person in enumerate(scene.people)
    ]  # fmt: skip
    slabs = [
        {"distance": _rounded(slab.place[0], 2), "width": _rounded(slab.width, 2), "from": _rounded(slab.bottom, 2),
         "to": _rounded(slab.top, 2), "velocity": _rounded(slab.velocity, 2)}
        for slab in scene.slabs
    ]  # fmt: skip
    content = {
        "video": video, "seed": scene.seed, "frame_rate": _rounded(scene.rate, 3),
        "shutter": _rounded(scene.shutter, 1),
        "joints": list(JOINT_POINTS), "occluders": list(OCCLUDERS), "people": people, "objects": slabs,
        "camera": _rounded(labels.camera, 5), "annotated": labels.annotated, "inside": labels.inside,
        "occluder": np.where(labels.inside, labels.occluder, 0),
        "occluder_number": np.where(labels.inside, labels.by, -1),
        "run_length": runs, "joints_3d": _rounded(labels.metres, 3), "blur_length": _rounded(_length(labels.blur), 2),
        "velocity": _rounded(labels.blur / shutter, 2), "joints_2d": labels.joints,
    }  # fmt: skip
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _image(scene: Scene, labels: Labels, frame: int, image_id: int, *, video: str, split: str) -> dict[str, Any]:
    regions = labels.regions[frame]
    return {
        "file_name": f"images/{split}/{video}/{frame:06d}.jpg",
        "id": image_id,
        "frame_id": image_id,
        "vid_id": video.split("_")[0],
        "nframes": scene.frames,
        "width": scene.size[0],
        "height": scene.size[1],
        "is_labeled": True,
        "has_labeled_person": bool(labels.annotated[frame].any()),
        "ignore_regions_x": [region[:, 0].tolist() for region in regions],
        "ignore_regions_y": [region[:, 1].tolist() for region in regions],
    }


def _annotation(labels: Labels, frame: int, person: int, image_id: int, place: int, number: str) -> dict[str, Any]:
    inside = labels.inside[frame, person]
    values = np.where(inside, np.where(labels.hidden[frame, person], HIDDEN, VISIBLE), 0)
    keypoints = np.zeros((len(POSETRACK17), 3))
    keypoints[_TARGETS, :2] = labels.joints[frame, person] * inside[:, None]
    keypoints[_TARGETS, 2] = values
    joints = labels.joints[frame, person][inside]
    low, high = joints.min(axis=0), joints.max(axis=0)
    head = labels.head_boxes[frame, person]
    return {
        "image_id": image_id,
        "id": image_id * 100 + place,
        "category_id": 1,
        "track_id": person,
        "person_id": _person_id(number, person),
        "keypoints": [
            int(value) if column == 2 else value for row in keypoints.tolist() for column, value in enumerate(row)
        ],
        "visibility": keypoints[:, 2].astype(int).tolist(),
        "bbox": _rounded([*((low + high) / 2 - 0.65 * (high - low)), *(1.3 * (high - low))], 2),
        "bbox_head": _rounded([*head[:2], *(head[2:] - head[:2])], 2),
        "scores": [],
    }


def _person_id(number: str, person: int) -> int:
    return int(number) * 100 + person


def _length(vectors: Array) -> Array:
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def _rounded(value: Any, digits: int) -> Any:
    """Round and drop the sign of zero, so that equal values have equal bytes."""
    return (np.round(np.asarray(value, dtype=np.float64), digits) + 0.0).tolist()
