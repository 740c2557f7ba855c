"""Proposals: equal to the released generator draw by draw, and what they do as augmentation and as a probe."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.methods import CropSpec
from harness.proposals import RELEASED, ProposalModel, clipped_offsets, inner_patch, proposal
from harness.skeletons import POSETRACK17
from harness.training.batches import Stream
from harness.training.recipe import Augmentation
from harness.training.samples import Samples, reach_of

CASES = json.loads((Path(__file__).parent / "data" / "pgpg.json").read_text())["cases"]


class Replayed:
    """A generator that gives the draws of a golden case."""

    def __init__(self, draws):
        self.draws = [draw[-1] for draw in draws]

    def random(self, count=None):
        taken, self.draws = self.draws[: count or 1], self.draws[count or 1 :]
        return np.array(taken) if count else taken[0]

    def normal(self, means, deviations):
        assert len(means) == len(deviations) == 4
        return self.random(4)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_proposals_equal_the_released_ones(case):
    made = proposal(np.array(case["box"]), case["image_wh"], Replayed(case["draws"]))
    np.testing.assert_allclose(made, case["out"], rtol=0, atol=1e-9)


def test_the_model_is_the_one_drawn_from():
    drawn = [[draw[1:3] for draw in case["draws"] if draw[0] == "n"] for case in CASES]
    sides = next(each for each in drawn if each)
    assert [tuple(column) for column in zip(*sides, strict=True)] == [RELEASED.means, RELEASED.deviations]
    assert any(case["draws"][0][1] > 0.85 for case in CASES), "inner patches are among the cases"


def test_sides_stay_in_the_image_and_the_border_wins():
    box = np.array([90.0, 10.0, 99.0, 40.0])
    moved = clipped_offsets(box, np.array([5.0, -5.0, 5.0, 0.0]), (100, 50))
    assert moved.tolist() == [97, 1, 97, 40]


def test_a_patch_keeps_to_its_box():
    patch = inner_patch(np.array([10.0, 20.0, 110.0, 70.0]), 0.9, np.array([1.0, 0.0]))
    assert patch.tolist() == [20, 20, 111, 66]


def test_what_is_drawn_has_the_means_and_deviations_of_the_model():
    box, random = np.array([400.0, 300.0, 600.0, 700.0]), np.random.default_rng(0)
    drawn = np.array([proposal(box, (4000, 4000), random, model=ProposalModel(inner=0.0)) for _ in range(4000)])
    offsets = (drawn - box) / [200, 400, 200, 400]
    np.testing.assert_allclose(offsets.mean(axis=0), RELEASED.means, atol=0.01)
    np.testing.assert_allclose(offsets.std(axis=0), RELEASED.deviations, rtol=0.05)


def test_no_dose_is_no_change():
    box = np.array([1.0, 2.0, 30.0, 40.0])
    assert proposal(box, (100, 100), np.random.default_rng(0), dose=0.0).tolist() == box.tolist()


def batches(share):
    """Batches of eight people whose pictures are all alike, with boxes a detector might have given in a `share`."""
    count = 8
    samples = Samples(
        [[np.zeros((200, 200, 3), np.uint8)]] * count, np.zeros((count, 2)), np.ones(count),
        np.full((count, 17, 2), 100.0), np.ones((count, 17), bool),
        np.tile([60.0, 40.0, 140.0, 160.0], (count, 1)), np.full(count, 20.0), np.arange(count),
    )  # fmt: skip
    how = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, proposals=share)
    return Stream(samples, CropSpec((96, 128)), "plain", POSETRACK17, how, count, 0)


def test_boxes_of_training_are_moved_in_the_share_asked_for():
    untouched = batches(0.0).batch(0)
    assert (untouched.centre == untouched.centre[0]).all()
    moved = [(batches(share).batch(step).centre != untouched.centre).any(axis=1).mean()
             for share in (0.5, 1.0) for step in range(6)]  # fmt: skip
    assert 0.3 < np.mean(moved[:6]) < 0.7 and np.mean(moved[6:]) == 1
    again, same = batches(1.0).batch(3), batches(1.0).batch(3)
    assert (again.centre == same.centre).all(), "the same step draws the same boxes"
    assert np.ptp(again.scale) > 0, "sides are drawn one by one, so sizes differ too"


def test_the_pictures_that_are_kept_show_what_moved_boxes_may_reach():
    crop = CropSpec((96, 128))
    assert reach_of(Augmentation(proposals=0.5), crop) == 1.5 * reach_of(Augmentation(), crop)
