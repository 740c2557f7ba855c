"""PoseTrack17: 250 to 292 training and 50 validation videos, one `annolist` file each.

On disk: `annotations/{train,val}/<video>.json` and `images/<group>/<video>/<frame>.jpg`. Raw frame names are
irregular, so most code renames them to `images_renamed/<group>/<video>/%08d.jpg`, counting from 1; both are found.
DetectAndTrack's COCO conversion, which PoseWarper, DCPose and FAMI-Pose use, is one `posetrack_{train,val}.json`, read
where there are no files per video. A joint is annotated when its point is in the file. `is_visible` is there but no
tool known to us uses it: it is believed only if it tells joints apart (some are 0), else visibility is unknown.
The labels of the test split are not public: it is read from its images alone, every frame unlabelled.
"""

from __future__ import annotations

from pathlib import Path

from harness.datasets.fingerprint import fingerprint
from harness.datasets.images import relocated
from harness.datasets.label_files import find_label_files
from harness.datasets.layouts import audited, read_merged, read_sequence
from harness.datasets.registry import DatasetCard, register_dataset
from harness.datasets.sequences import DataSet
from harness.datasets.unlabelled import names_fingerprint, videos_without_labels
from harness.errors import DataError

__all__ = ["read_posetrack17"]

_RENAMED = (("images/", "images_renamed/"), ("", "images_renamed/"), ("", "images/"))


def read_posetrack17(root: Path, split: str) -> DataSet:
    """Read a split; `Frame.index` is the number in the image name minus 1. DataError says what was looked for."""
    try:
        labels = find_label_files("posetrack17", root, split)
    except DataError:
        videos = videos_without_labels(root, split) if split == "test" else ()
        if not videos:
            raise
        return DataSet("posetrack17", split, root, videos, names_fingerprint(videos))
    if labels.merged is None:
        sequences = audited(tuple(read_sequence(path, base=1) for path in labels.files))
        prefixes = (("images/", "images/"), *_RENAMED)
    else:
        sequences = read_merged(labels.merged, base=1)
        prefixes = (*_RENAMED, ("", ""))
    return DataSet(
        name="posetrack17",
        split=split,
        root=root,
        sequences=tuple(relocated(sequence, root, prefixes) for sequence in sequences),
        fingerprint=fingerprint(labels.files, root),
    )


register_dataset(
    DatasetCard(
        name="posetrack17",
        title="PoseTrack 2017",
        splits=("train", "val", "test"),
        read=read_posetrack17,
        get_it="Registration at https://posetrack.net; unpack images/ and annotations/ into one folder.",
    )
)
