"""PoseTrack21: the videos of PoseTrack18 with new annotations, global person ids and occlusion flags; train and val.

On disk: `posetrack_data/{train,val}/<video>.json` (also found as `annotations/{train,val}`) and
`images/{train,val}/<video>/%06d.jpg`, counting from 0. A joint is annotated when x > 0 and y > 0, as the official kit
has it; the third value is kept as the visibility flag: 0 with coordinates is occluded. This encoding is a working rule,
not confirmed on the files: a split in which no joint is occluded by it has unknown visibility.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.datasets.fingerprint import fingerprint
from harness.datasets.images import relocated
from harness.datasets.label_files import find_label_files
from harness.datasets.layouts import Visibility, audited, read_merged, read_sequence
from harness.datasets.registry import DatasetCard, register_dataset
from harness.datasets.sequences import DataSet, Sequence

__all__ = ["read_posetrack21"]


def read_posetrack21(
    root: Path, split: str, *, name: str = "posetrack21", visibility: Visibility = "zero", protocol: str = "posetrack21"
) -> DataSet:
    """Read a split; `Frame.index` is the number in the image name. DataError says what was looked for.

    Data sets of this layout that declare another encoding give their `name`, `protocol` and `visibility` ("two": third
    value 2 visible, 1 occluded, 0 not annotated); the rule x > 0 and y > 0 is then not applied.
    """
    labels = find_label_files("posetrack21", root, split)
    if labels.merged is None:
        sequences = tuple(read_sequence(path, base=0, visibility=visibility) for path in labels.files)
    else:
        sequences = read_merged(labels.merged, base=0, visibility=visibility)
    if visibility == "zero":
        sequences = audited(tuple(_positive(sequence) for sequence in sequences))
    prefixes = (("images/", "images/"), ("", "images/"), ("", f"images/{split}/"), ("", ""))
    return DataSet(
        name=name,
        split=split,
        root=root,
        sequences=tuple(relocated(sequence, root, prefixes) for sequence in sequences),
        fingerprint=fingerprint(labels.files, root),
        protocol=protocol,
    )


def _positive(sequence: Sequence) -> Sequence:
    truth = sequence.truth
    annotated = truth.annotated & (truth.joints > 0).all(axis=2)
    visible = None if truth.visible is None else truth.visible & annotated
    return replace(sequence, truth=replace(truth, annotated=annotated, visible=visible))


register_dataset(
    DatasetCard(
        name="posetrack21",
        title="PoseTrack21",
        splits=("train", "val"),
        read=read_posetrack21,
        get_it="Sign the form at https://github.com/anDoer/PoseTrack21; put posetrack_data/ and images/ in one folder.",
    )
)
