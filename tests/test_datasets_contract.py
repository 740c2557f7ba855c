"""What holds for every registered data set, and for every split of the embedded one."""

from pathlib import Path

import numpy as np
import pytest

from harness.datasets import NO_TRACK, datasets, open_dataset
from harness.errors import DataError, UsageError
from harness.skeletons import GROUPS

NAMES = (
    "posetrack17",
    "posetrack18",
    "posetrack21",
    "synthtrack",
    "synthtrack-large",
    "synthtrack-mini",
    "synthtrack-night",
    "synthtrack-smoke",
)


def test_no_data_set_is_missing_from_this_test() -> None:
    assert set(NAMES) <= set(datasets)


@pytest.mark.parametrize("name", list(datasets))
def test_card_says_what_a_user_needs(name: str, tmp_path: Path) -> None:
    card = datasets[name]
    assert card.name == name and card.title and "val" in card.splits
    assert card.get_it or card.prepare is not None
    with pytest.raises(UsageError, match="no split"):
        open_dataset(name, "everything", root=tmp_path)
    with pytest.raises(DataError):
        open_dataset(name, "val", root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="looked for"):
        open_dataset(name, "val", root=tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_truth_of_the_embedded_data_keeps_the_conventions(split: str) -> None:
    dataset = open_dataset("synthtrack-smoke", split)
    assert dataset.fingerprint.startswith("sha256:") and len(dataset) > 1
    for sequence in dataset.sequences:
        truth = sequence.truth
        assert [frame.index for frame in sequence.frames] == list(range(len(sequence.frames)))
        assert (np.diff(truth.frame) >= 0).all()
        assert np.isfinite(truth.joints[truth.annotated]).all()
        assert truth.visible is not None and not (truth.visible & ~truth.annotated).any()
        assert (truth.head_boxes[:, 2:] > truth.head_boxes[:, :2]).all()
        assert (truth.track_ids != NO_TRACK).all()
        joints = [dataset.skeleton.index(joint) for group in GROUPS.values() for joint in group]
        assert truth.annotated[:, joints].any(axis=1).all()
        for frame in sequence.frames:
            assert dataset.image_path(frame).is_file()
