"""Splits without public labels, read from their images alone: every frame unlabelled, nobody in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.datasets.columns import NO_NUMBER, frame_number
from harness.datasets.images import image_size
from harness.datasets.json_files import read_json
from harness.datasets.label_files import find_label_files
from harness.datasets.sequences import Frame, Sequence, Truth
from harness.datasets.translation import image_id
from harness.errors import DataError
from harness.skeletons import POSETRACK17

__all__ = ["names_fingerprint", "videos_of_split", "videos_without_labels"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


def videos_of_split(root: Path, split: str) -> tuple[Sequence, ...]:
    """The videos in `images/<split>/<video>/`, frames counted from 0, as PoseTrack18 has them."""
    return tuple(_video(folder, root, base=0) for folder in _folders(root / "images" / split))


def videos_without_labels(root: Path, split: str) -> tuple[Sequence, ...]:
    """The videos of a PoseTrack17 split, frames counted from 1.

    Its image folders do not say which split they are of: the videos are those in `images/<split>/` or, where there is
    no such folder, those in `images_renamed/<group>/`, else `images/<group>/`, that no other split's labels name.
    """
    own = _folders(root / "images" / split)
    if own:
        return tuple(_video(folder, root, base=1) for folder in own)
    labelled = {name for other in ("train", "val") for name in _labelled_folders(root, other)}
    for parent in ("images_renamed", "images"):
        folders = [folder for group in _folders(root / parent, empty=True) for folder in _folders(group)]
        if folders:
            left = [folder for folder in folders if folder.name not in labelled]
            return tuple(_video(folder, root, base=1) for folder in sorted(left, key=lambda folder: folder.name))
    return ()


def names_fingerprint(sequences: tuple[Sequence, ...]) -> str:
    """`sha256:...` over the image names, which are all that is known of a split without labels."""
    names = "\n".join(sorted(frame.image for sequence in sequences for frame in sequence.frames))
    return f"sha256:{hashlib.sha256(names.encode()).hexdigest()}"


def _folders(parent: Path, *, empty: bool = False) -> list[Path]:
    """The folders in `parent` that hold images (or anything), by name."""
    if not parent.is_dir():
        return []
    return [path for path in sorted(parent.iterdir()) if path.is_dir() and (empty or any(_images(path)))]


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def _labelled_folders(root: Path, split: str) -> Iterator[str]:
    """The video folders that the label files of a split name."""
    try:
        labels = find_label_files("posetrack17", root, split)
    except DataError:
        return
    for path in labels.files:
        document = read_json(path)
        try:
            if "annolist" in document:
                names = [entry["image"][0]["name"] for entry in document["annolist"][:1]]
            else:
                names = [image["file_name"] for image in document["images"]]
            yield from {Path(name).parent.name for name in names}
        except (TypeError, LookupError):
            raise DataError(f"{path}: names no images, so it cannot be told which videos are {split}'s") from None


def _video(folder: Path, root: Path, *, base: int) -> Sequence:
    numbered = sorted((frame_number(path.name), path.name) for path in _images(folder))
    if numbered[0][0] == NO_NUMBER:
        raise DataError(
            f"{folder / numbered[0][1]}: the image name holds no frame number; expected names like 000000.jpg"
        )
    place, size = folder.relative_to(root).as_posix(), image_size(folder / numbered[0][1])
    ids = [image_id(folder.name, number) if base == 0 else None for number, _ in numbered]
    frames = tuple(
        Frame(f"{place}/{name}", number - base, number if own is None else own, labelled=False, size=size)
        for (number, name), own in zip(numbered, ids, strict=True)
    )
    return Sequence(name=folder.name, frames=frames, truth=_nobody(), source=str(folder))


def _nobody() -> Truth:
    joints = len(POSETRACK17)
    none = np.zeros(0, dtype=np.int64)
    return Truth(
        frame=none, joints=np.zeros((0, joints, 2)), annotated=np.zeros((0, joints), dtype=bool),
        boxes=np.zeros((0, 4)), head_boxes=np.zeros((0, 4)), track_ids=none, person_ids=none,
        has_points=np.zeros(0, dtype=bool),
    )  # fmt: skip
