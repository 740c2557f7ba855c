"""Is this folder a data set one can trust? Every label file and image is looked at, and every problem is named."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from harness.datasets.check_labels import check_labels
from harness.datasets.columns import Columns
from harness.datasets.findings import Finding, Report
from harness.datasets.fingerprint import fingerprint
from harness.datasets.images import images_fingerprint, missing_images
from harness.datasets.json_files import read_json, sequence_name
from harness.datasets.label_files import PLACES, LabelFiles, find_label_files
from harness.datasets.layouts import parse
from harness.datasets.pictures import read_image
from harness.datasets.registry import DatasetCard, datasets
from harness.datasets.sequences import DataSet, Frame, Sequence
from harness.errors import DataError
from harness.skeletons import POSETRACK15, POSETRACK17

__all__ = ["Images", "check_data", "recognised"]

#: How closely images are looked at: not at all, whether they are there, or whether each can be decoded.
Images = Literal["none", "names", "decode"]

#: Sequences of the known releases; PoseTrack18's validation labels 0.2 have 74 files, 0.45 has 170.
SEQUENCES = {
    ("posetrack17", "train"): (250, 292), ("posetrack17", "val"): (50,),
    ("posetrack18", "train"): (593,), ("posetrack18", "val"): (74, 170),
    ("posetrack21", "train"): (593,), ("posetrack21", "val"): (170,),
}  # fmt: skip
_RENAMED = re.compile(r"\d{8}\.\w+")
_BASES = {"posetrack17": 1, "posetrack18": 0, "posetrack21": 0}


def check_data(
    root: Path, *, name: str | None = None, splits: tuple[str, ...] | None = None, images: Images = "names"
) -> Report:
    """Look at all splits of the data set in `root` and report every problem with file and record.

    `name` is a registered data set, recognised from the files where it is not given; embedded data sets have the layout
    of PoseTrack21. A test split that has images only is looked at where `splits` names it. Raises DataError for a
    missing folder, UsageError for an unknown name.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the images and labels")
    name = name or recognised(root)
    card, layout = datasets[name], name if name in PLACES else "posetrack21"
    findings: list[Finding] = []
    facts: dict[str, dict[str, object]] = {}
    videos: dict[str, set[str]] = {}
    for split in splits or card.splits:
        try:
            labels = find_label_files(layout, root, split)
        except DataError as error:
            bare = _without_labels(card, root, split) if splits else None
            if bare is not None:
                findings += _image_findings(bare, images)
                videos[split] = {sequence.name for sequence in bare.sequences}
                facts[split] = _counts([], len(bare)) | {"frames": bare.frame_count, "fingerprint": bare.fingerprint}
            elif splits or "several merged" in str(error) or "as .json and" in str(error):
                findings.append(Finding("no-labels", str(root), f"split {split}", str(error)))
            continue
        readable, problems = _label_findings(labels, root, layout)
        findings += problems
        dataset = None
        try:
            dataset = card.read(root, split) if len(readable) == len(labels.files) else None
        except DataError as error:
            findings.append(Finding("malformed", str(root), f"split {split}", str(error)))
        videos[split] = {sequence.name for sequence in dataset.sequences} if dataset else set()
        if dataset:
            findings += _split_findings(dataset, root)
            findings += _image_findings(dataset, images)
        prints = {"fingerprint": dataset.fingerprint} if dataset else _label_prints(labels, root)
        if dataset and images != "none" and all(finding.kind != "image-elsewhere" for finding in findings):
            try:
                prints["images_fingerprint"] = images_fingerprint(dataset)
            except DataError as error:
                findings.append(Finding("image-broken", str(root), f"split {split}", str(error)))
        facts[split] = _counts(readable, len(videos[split])) | prints
    if not facts and not findings:
        looked = ", ".join(places.format(split="*") for places in (*PLACES[layout].folders, *PLACES[layout].merged))
        findings.append(Finding("no-labels", str(root), name, f"looked for {looked}"))
    for first, second in combinations(videos, 2):
        for video in sorted(videos[first] & videos[second]):
            findings.append(Finding("split-shared", str(root), video, f"in {first} and in {second}"))
    return Report(str(root), name, facts, tuple(findings))


def _label_prints(labels: LabelFiles, root: Path) -> dict[str, str]:
    """The fingerprint of labels that cannot be read as such; none of what is no plain file or beyond measure."""
    try:
        return {"fingerprint": fingerprint(labels.files, root)}
    except OSError:
        return {}


def _without_labels(card: DatasetCard, root: Path, split: str) -> DataSet | None:
    """A split that can be read from its images alone."""
    if split in card.evaluable:
        return None
    try:
        return card.read(root, split)
    except DataError:
        return None


def recognised(root: Path) -> str:
    """The name of the data set whose layout the folder has; DataError if it has none of them."""
    if any((root / "posetrack_data").glob("*/*.json*")):
        return "posetrack21"
    for name in ("posetrack18", "posetrack17"):
        for split in ("train", "val", "test"):
            try:
                files = find_label_files(name, root, split).files
            except DataError:
                continue
            return _by_content(files) or name
    raise DataError(
        f"{root}: no posetrack_data/<split>/*.json, no annotations/<split>/*.json and no merged label file here; "
        "give --dataset, or the folder above"
    )


def _by_content(files: tuple[Path, ...]) -> str | None:
    """What the first readable file says; None if none can be read.

    A COCO conversion of PoseTrack17 has the renamed images: eight digits, counted from 1.
    """
    for path in files:
        try:
            document = read_json(path)
            if "annolist" in document:
                return "posetrack17"
            first = Path(document["images"][0]["file_name"]) if document["images"] else Path()
        except (DataError, TypeError, LookupError):
            continue
        return "posetrack17" if _RENAMED.fullmatch(first.name) else "posetrack18"
    return None


def _label_findings(labels: LabelFiles, root: Path, layout: str) -> tuple[list[Columns], list[Finding]]:
    """The files that can be read, and what is wrong in any."""
    readable, findings = [], []
    for path in labels.files:
        file = path.relative_to(root).as_posix()
        try:
            document = read_json(path)
            columns = parse(document, str(path))
            columns.frames(_BASES[layout])
        except DataError as error:
            findings.append(Finding("malformed", file, "file", str(error)))
            continue
        readable.append(columns)
        problems = check_labels(columns, document, file, name=sequence_name(path), base=_BASES[layout])
        whole_file = ("several-videos", "file-name", "frame-order", "frame-gap", "frames-listed", "sizes-differ")
        skipped = whole_file if labels.merged else ()
        findings += [finding for finding in problems if finding.kind not in skipped]
    return readable, findings


def _split_findings(dataset: DataSet, root: Path) -> Iterator[Finding]:
    known = SEQUENCES.get((dataset.name, dataset.split))
    if known and len(dataset) not in known:
        releases = " or ".join(map(str, known))
        yield Finding(
            "sequence-count", str(root), f"split {dataset.split}", f"{len(dataset)} sequences, not {releases}"
        )
    annotated = sum((sequence.truth.annotated.sum(axis=0) for sequence in dataset.sequences), np.zeros(17, dtype=int))
    for joint in POSETRACK15.names:
        if annotated[POSETRACK17.index(joint)] == 0:
            yield Finding("joint-never", str(root), f"split {dataset.split}", joint)


def _image_findings(dataset: DataSet, images: Images) -> Iterator[Finding]:
    for sequence in dataset.sequences:
        for position, frame in enumerate(sequence.frames):
            try:
                dataset.image_path(frame)
            except DataError:
                yield Finding("image-elsewhere", _inside(sequence, dataset), f"frame {position}", frame.image)
    if images == "none":
        return
    missing = missing_images(dataset)
    absent = sum(map(len, missing.values()))
    if absent == dataset.frame_count:
        yield Finding("images-none", str(dataset.root), f"split {dataset.split}", f"0 of {absent} images")
    for sequence in dataset.sequences:
        lost = missing.get(sequence.name, [])
        if lost and absent < dataset.frame_count:
            found = f"{len(lost)} of {len(sequence.frames)}, first {lost[0].image}"
            yield Finding("images-missing", _inside(sequence, dataset), sequence.name, found)
        if images == "decode":
            there = set(sequence.frames) - set(lost)
            yield from _decoded_all(dataset, [frame for frame in sequence.frames if frame in there])


def _inside(sequence: Sequence, dataset: DataSet) -> str:
    """The label file of a sequence, relative to the data root."""
    return Path(sequence.source).relative_to(dataset.root).as_posix()


def _decoded_all(dataset: DataSet, frames: list[Frame]) -> Iterator[Finding]:
    """The findings of each frame's image, decoded on all cores: OpenCV lets other threads run meanwhile."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        for finding in pool.map(lambda frame: _decoded(dataset, frame), frames):
            if finding is not None:
                yield finding


def _decoded(dataset: DataSet, frame: Frame) -> Finding | None:
    file = frame.image
    try:
        image = read_image(dataset.root / file)
    except DataError as problem:
        return Finding("image-broken", file, "file", str(problem).removeprefix(f"{dataset.root / file}: "))
    if frame.size is not None and frame.size != (image.shape[1], image.shape[0]):
        found, expected = f"{image.shape[1]} x {image.shape[0]}", f"{frame.size[0]} x {frame.size[1]}"
        return Finding("image-size", file, "file", f"{found}, expected {expected}")
    return None


def _counts(files: list[Columns], sequences: int) -> dict[str, object]:
    """Counts over the readable files of a split."""
    totals: dict[str, int] = defaultdict(int)
    joints = np.zeros(len(POSETRACK17), dtype=np.int64)
    for columns in files:
        totals["frames"] += len(columns.images)
        totals["labelled_frames"] += int(columns.labelled.sum())
        totals["people"] += len(columns.frame)
        totals["people_with_joints"] += int(columns.present.any(axis=1).sum())
        totals["head_boxes"] += int(np.isfinite(columns.head_boxes).all(axis=1).sum())
        totals["joints"] += int(columns.present.sum())
        totals["ignore_regions"] += sum(map(len, columns.ignore.values()))
        joints += columns.present.sum(axis=0)
    per_joint = dict(zip(POSETRACK17.names, joints.tolist(), strict=True))
    return {"label_files": len(files), "sequences": sequences, **totals, "joints_by_name": per_joint}
