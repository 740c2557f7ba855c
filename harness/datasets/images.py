"""The image files of a data set: where labels and disk name them differently, and which are missing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection
from collections.abc import Sequence as ManyOf
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from harness.datasets.sequences import DataSet, Frame, Sequence
from harness.errors import DataError, UsageError, listed
from harness.files import open_plain, sha256_of

__all__ = ["image_hashes", "image_size", "images_fingerprint", "missing_images", "relocated", "stated_size", "without"]

#: Bytes of an image file: more than the largest picture that is decoded takes without any compression.
LARGEST = 2**29

#: What the system says of a path where nothing is: not there, under a file, a link to itself, too long to be a name.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


def relocated(sequence: Sequence, root: Path, prefixes: ManyOf[tuple[str, str]]) -> Sequence:
    """The sequence with image names that are relative to `root`, with the size of the first where none is stated.

    Each of `prefixes` is (what a name starts with, what stands there instead). The first under which the first image
    exists is taken; where there is none, the first that applies, so that the missing images are named sensibly.
    """
    if not sequence.frames:
        return sequence
    moved = _moved(sequence, root, prefixes)
    if moved.frames[0].size is not None:
        return moved
    size = image_size(root / moved.frames[0].image)
    return replace(moved, frames=tuple([replace(frame, size=frame.size or size) for frame in moved.frames]))


def _moved(sequence: Sequence, root: Path, prefixes: ManyOf[tuple[str, str]]) -> Sequence:
    first = sequence.frames[0].image
    applying = [(old, new) for old, new in prefixes if first.startswith(old)]
    if not applying:
        return sequence
    found = [(old, new) for old, new in applying if _is_there(root / (new + first.removeprefix(old)))]
    old, new = (found or applying)[0]
    if old == new:
        return sequence
    frames = [replace(frame, image=new + frame.image.removeprefix(old)) for frame in sequence.frames]
    return replace(sequence, frames=tuple(frames))


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long to be one
        return False


def image_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a JPEG or PNG file from its header; None if it is not there or neither of them."""
    try:
        with open_plain(path) as stream:
            return stated_size(stream)
    except (OSError, ValueError):
        return None


def stated_size(stream: BinaryIO) -> tuple[int, int] | None:
    """(width, height) that a JPEG or PNG at the start of a stream says it has; None for neither."""
    start = stream.read(24)
    if start.startswith(b"\x89PNG") and len(start) == 24:
        return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    stream.seek(2)
    return _jpeg_size(stream) if start.startswith(b"\xff\xd8") else None


def _jpeg_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Skip from segment to segment until one that starts a frame (C0 to CF but for the tables C4, C8, CC)."""
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        if 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            frame = stream.read(5)
            size = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
            return size if all(size) else None
        stream.seek(int.from_bytes(head[2:4], "big") - 2, os.SEEK_CUR)
    return None


def missing_images(dataset: DataSet) -> dict[str, list[Frame]]:
    """Sequence name -> its frames that have no image file, for sequences that miss any; one look into each folder."""

    @cache
    def present(folder: str) -> frozenset[str]:
        try:
            with os.scandir(dataset.root / folder) as entries:
                return frozenset([entry.name for entry in entries])
        except OSError as problem:
            _only_if_absent(problem, dataset.root / folder)
            return frozenset()

    def exists(frame: Frame) -> bool:
        folder, _, name = frame.image.rpartition("/")
        return name in present(folder)

    missing = {}
    for sequence in dataset.sequences:
        absent = [frame for frame in sequence.frames if not exists(frame)]
        if absent:
            missing[sequence.name] = absent
    return missing


def images_fingerprint(dataset: DataSet) -> str:
    """`sha256:...` over the name and size of every image, and the content of the first and last of each sequence.

    A missing image counts with size -1. Fast: one look at each file, and a few files read per sequence. Raises
    DataError for an image path that leaves the data root, and for an image that is no plain file or larger than any.
    """
    digest = hashlib.sha256()
    for sequence in sorted(dataset.sequences, key=lambda item: item.name):
        last = len(sequence.frames) - 1
        for position, frame in enumerate(sequence.frames):
            path = str(dataset.image_path(frame))
            try:
                size = os.stat(path).st_size  # noqa: PTH116 (half the time of Path.stat)
            except OSError as problem:
                _only_if_absent(problem, path)
                size = -1
            content = _image_sha256(path) if size >= 0 and position in (0, last) else ""
            digest.update(f"{frame.image}\0{size}\0{content}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def image_hashes(dataset: DataSet) -> dict[str, str]:
    """Sequence name -> 16 hexadecimal digits of the sha256 over the names and contents of all its images.

    Every file is read once in a process, and again where its size or time has changed. One that cannot be read counts
    as that.
    """

    def digest(sequence: Sequence) -> str:
        found = hashlib.sha256()
        for frame in sequence.frames:
            content = _content(str(dataset.image_path(frame)))
            found.update(os.fsencode(frame.image) + f"\0{content}\n".encode())
        return found.hexdigest()[:16]

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(
            zip([sequence.name for sequence in dataset.sequences], pool.map(digest, dataset.sequences), strict=True)
        )


#: Path of an image -> what the system says of the file, and its sha256.
_CONTENTS: dict[str, tuple[tuple[int, int, int], str]] = {}


def _content(path: str) -> str:
    try:
        facts = os.stat(path)  # noqa: PTH116 (half the time of Path.stat)
        known = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        if path not in _CONTENTS or _CONTENTS[path][0] != known:
            _CONTENTS[path] = known, sha256_of(path, most=LARGEST)
        return _CONTENTS[path][1]
    except OSError:
        return "not readable"


def _image_sha256(path: str) -> str:
    try:
        return sha256_of(Path(path), most=LARGEST)
    except OSError as problem:
        reason = problem.strerror or problem
        raise DataError(f"{path}: cannot read the image ({reason}); fetch it again, or check --data-root") from None


def _only_if_absent(problem: OSError, path: Path | str) -> None:
    """Raise DataError for a path that may well be there, but cannot be looked at."""
    if problem.errno not in _ABSENT:
        raise DataError(f"{path}: cannot be looked at ({problem.strerror}); mend that, or check --data-root") from None


def without(dataset: DataSet, names: Collection[str]) -> DataSet:
    """The data set without some sequences, its fingerprint unchanged; UsageError for a name it does not have."""
    unknown = sorted(set(names) - {sequence.name for sequence in dataset.sequences})
    if unknown:
        raise UsageError(f"data set '{dataset.name}' ({dataset.split}) has no sequence {listed(unknown)}")
    kept = tuple(sequence for sequence in dataset.sequences if sequence.name not in names)
    return replace(dataset, sequences=kept)
