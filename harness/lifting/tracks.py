"""People followed through sequences: their joints in the picture and, from synthtrack's extras, in space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.json_files import read_json
from harness.datasets.sequences import DataSet, Sequence, Truth, check_shapes
from harness.errors import DataError
from harness.lifting.body import ROOTED
from harness.predictions import Predictions
from harness.skeletons import POSETRACK15, Skeleton

__all__ = ["FEATURES", "Tracks", "features", "fingerprint", "mirrored", "read_tracks"]

#: Numbers per frame that a network sees: x, y and known of each joint, then where the person stands and how large.
FEATURES = 3 * len(POSETRACK15) + 3


@dataclass(frozen=True, eq=False)
class Tracks:
    """N people over T frames, joints in the order of POSETRACK15.

    `joints` (N,T,15,2) px, 0 where not `known` (N,T,15); `present` (N,T) the person is labelled there, which is where
    errors are counted; `truth` (N,T,15,3) metres right, down and forward from the pelvis; `size`
    (N,2) px of the picture; `sequence` (N,) number of the sequence.
    """

    joints: NDArray[np.float64]
    known: NDArray[np.bool_]
    present: NDArray[np.bool_]
    truth: NDArray[np.float64]
    size: NDArray[np.float64]
    sequence: NDArray[np.int64]

    def __post_init__(self) -> None:
        count, frames = self.present.shape
        check_shapes(
            self, joints=(count, frames, 15, 2), known=(count, frames, 15), truth=(count, frames, 15, 3),
            size=(count, 2), sequence=(count,),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.sequence)


def read_tracks(dataset: DataSet, predictions: Predictions | None = None) -> Tracks:
    """Every labelled person of a split with joints in space, which only synthtrack has; DataError for another.

    The joints in the picture are the labelled ones or, of `predictions` of the same sequences in the same order and of
    the true boxes, those with the person's track id.
    """
    people: list[dict[str, NDArray[Any]]] = []
    for number, sequence in enumerate(dataset.sequences):
        path = dataset.root / "extras" / dataset.split / f"{sequence.name}.json"
        people += _people(sequence, number, path, predictions)
    if len({len(person["present"]) for person in people}) != 1:
        raise DataError(f"{dataset.root}: nobody is labelled in {dataset.split}, or sequences are not equally long")
    return Tracks(**{name: np.stack([person[name] for person in people]) for name in people[0]})


def features(tracks: Tracks) -> NDArray[np.float32]:
    """(N,T,FEATURES) what a network sees: joints divided by the width of the picture, from its middle.

    They are given from the person's middle over the track and in units of his spread, both of which follow: the same
    numbers said so that a network of minutes need not learn that poses are alike wherever people stand.
    """
    width = tracks.size[:, None, None, :1]
    places = (2 * tracks.joints - (tracks.size[:, None, None] - 1)) / width
    known = tracks.known[..., None]
    count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
    middle = (places * known).sum(axis=(1, 2), keepdims=True) / count
    spread = np.sqrt((((places - middle) * known) ** 2).sum(axis=(1, 2, 3), keepdims=True) / count) + 1e-6
    shape = tracks.present.shape
    relative = ((places - middle) / spread * known).reshape(*shape, -1)
    standing = np.broadcast_to(np.concatenate([middle, np.log(spread)], axis=-1)[:, :, 0], (*shape, 3))
    return np.concatenate([relative, tracks.known, standing], axis=-1, dtype=np.float32)


def mirrored(tracks: Tracks) -> Tracks:
    """The same people in pictures seen in a mirror, left and right exchanged."""
    order = POSETRACK15.flip_order
    known = tracks.known[:, :, order]
    joints = np.array([1, 0]) * (tracks.size[:, None, None] - 1) + np.array([-1, 1]) * tracks.joints[:, :, order]
    truth = np.array([-1, 1, 1]) * tracks.truth[:, :, order]
    return replace(tracks, joints=joints * known[..., None], known=known, truth=truth)


def fingerprint(tracks: Tracks) -> str:
    """`sha256:...` of everything the tracks hold."""
    content = b"".join(getattr(tracks, field.name).tobytes() for field in fields(tracks))
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _people(
    sequence: Sequence, number: int, path: Path, predictions: Predictions | None
) -> Iterator[dict[str, NDArray[Any]]]:
    """The fields of `Tracks` for everyone labelled in a sequence."""
    metres, truth, frames = _metres(path), sequence.truth, len(sequence.frames)
    size = sequence.frames[0].size
    if len(metres) != frames or size is None or not np.isin(truth.track_ids, range(metres.shape[1])).all():
        raise DataError(f"{path}: does not belong to {sequence.source} (frames, people or size differ); make them anew")
    found: Truth | Predictions = truth if predictions is None else predictions
    skeleton = sequence.skeleton if predictions is None else predictions.skeleton
    order = skeleton.positions_of(POSETRACK15)
    for track in np.unique(truth.track_ids).tolist():
        present = np.isin(np.arange(frames), truth.frame[truth.track_ids == track])
        rows = found.track_ids == track
        if isinstance(found, Predictions):
            rows &= found.sequence == number
        joints, known = np.zeros((frames, 15, 2)), np.zeros((frames, 15), dtype=bool)
        joints[found.frame[rows]] = found.joints[rows][:, order]
        known[found.frame[rows]] = (found.annotated if isinstance(found, Truth) else found.present)[rows][:, order]
        known &= present[:, None]
        yield {
            "joints": np.where(known[..., None], joints, 0), "known": known, "present": present,
            "truth": ROOTED @ metres[:, track], "size": np.array(size, dtype=float), "sequence": np.array(number),
        }  # fmt: skip


def _metres(path: Path) -> NDArray[np.float64]:
    """(T,P,15,3) joints from the camera, in the order of POSETRACK15."""
    if not path.is_file():
        raise DataError(f"{path}: not there; lifting needs joints in space, which of all data sets synthtrack has")
    content = read_json(path)
    try:
        metres = np.array(content["joints_3d"], dtype=np.float64)
        order = Skeleton("extras", tuple(content["joints"])).positions_of(POSETRACK15)
        if metres.ndim != 4 or metres.shape[2:] != (15, 3) or not np.isfinite(metres).all():
            raise ValueError
        return np.asarray(metres[:, :, order])
    except (DataError, KeyError, TypeError, ValueError):
        raise DataError(f"{path}: expected joints and joints_3d (frames, people, 15, 3); make the data anew") from None
