"""PoseTrack18: 593 training and 170 validation videos, one images/annotations/categories file each.

On disk: `annotations/{train,val}/<video>.json` and `images/{train,val}/<video>/%06d.jpg`, counting from 0. mmpose's
merged `annotations/posetrack18_{train,val}.json` and the `posetrack_{train,val}.json` of PoseWarper and DCPose are read
where there are no files per video. The third keypoint value is 1 for annotated and 0 for not: it says nothing of
occlusion, so visibility is unknown. Extension: an annotation may carry `visibility`, 17 numbers 2 (visible),
1 (occluded) or 0 (not labelled), which is believed. The labels of the test split are not public: it is read from its
images alone, every frame unlabelled; a folder that has some for `test` is read like the others. The early label
release (0.2, 74 validation files) and the later one (0.45, 170 files) give numbers that do not compare.
"""

from __future__ import annotations

from pathlib import Path

from harness.datasets.fingerprint import fingerprint
from harness.datasets.images import relocated
from harness.datasets.label_files import find_label_files
from harness.datasets.layouts import read_merged, read_sequence
from harness.datasets.registry import DatasetCard, register_dataset
from harness.datasets.sequences import DataSet
from harness.datasets.unlabelled import names_fingerprint, videos_of_split
from harness.errors import DataError

__all__ = ["read_posetrack18"]


def read_posetrack18(root: Path, split: str) -> DataSet:
    """Read a split; `Frame.index` is the number in the image name. DataError says what was looked for."""
    try:
        labels = find_label_files("posetrack18", root, split)
    except DataError:
        videos = videos_of_split(root, split) if split == "test" else ()
        if not videos:
            raise
        return DataSet("posetrack18", split, root, videos, names_fingerprint(videos))
    if labels.merged is None:
        sequences = tuple(read_sequence(path, base=0, visibility="none") for path in labels.files)
    else:
        sequences = read_merged(labels.merged, base=0)
    prefixes = (("images/", "images/"), ("", "images/"), ("", f"images/{split}/"), ("", ""))
    return DataSet(
        name="posetrack18",
        split=split,
        root=root,
        sequences=tuple(relocated(sequence, root, prefixes) for sequence in sequences),
        fingerprint=fingerprint(labels.files, root),
    )


register_dataset(
    DatasetCard(
        name="posetrack18",
        title="PoseTrack 2018",
        splits=("train", "val", "test"),
        read=read_posetrack18,
        get_it="Registration at https://posetrack.net; unpack images/ and annotations/ into one folder.",
    )
)
