"""Targets and losses of whole-frame methods against the releases, and frames as training samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import fill, frame_golden, golden_input, read_json

from baselines.layers.prtr import FrameAnswers, JointQueries
from harness.datasets import open_dataset
from harness.methods import CropSpec, methods
from harness.skeletons import POSETRACK17
from harness.training.frame_losses import frame_losses, offset_loss, pull_push
from harness.training.frame_samples import FrameStream, collect_frames
from harness.training.frame_targets import FrameTargets, gaussians, heatmaps_of_all, offset_targets
from harness.training.recipe import Augmentation
from harness.training.set_losses import layer_terms, match_joints

DATA = Path(__file__).parent / "data" / "whole_frame"


@pytest.mark.parametrize("kind", ["exp", "max"])
def test_pull_and_push_are_the_releases(kind: str) -> None:
    data = np.load(DATA / "ae_losses_targets.npz")
    tags = torch.from_numpy(data["ae/tags"])[..., 0].requires_grad_()
    joints = torch.from_numpy(data["ae/joints"]).long()
    known = joints[..., 1] > 0
    read = torch.stack([own[place] for own, place in zip(tags, torch.where(known, joints[..., 0], 0), strict=True)])
    pull, push = pull_push(read, known, kind=kind)
    np.testing.assert_allclose(pull.detach().numpy(), data[f"ae/pull_{kind}"], rtol=1e-5)
    np.testing.assert_allclose(push.detach().numpy(), data[f"ae/push_{kind}"], rtol=1e-5)
    (gradient,) = torch.autograd.grad((pull + push).sum(), tags)
    assert gradient.abs().sum().item() == pytest.approx(data[f"ae/grad_abs_sum_{kind}"][0], rel=1e-5)


def test_two_people_push_and_one_does_not() -> None:
    tags = torch.tensor([[[1.0, 3.0], [2.0, 2.0]]])
    pull, push = pull_push(tags, torch.ones(1, 2, 2, dtype=torch.bool))
    assert (pull.item(), push.item()) == (0.5, 0.5)  # both means are 2: 0.5 / 2 * (4 - 2)
    assert pull_push(tags, torch.tensor([[[True, True], [False, False]]]))[1].item() == 0
    assert [part.item() for part in pull_push(tags, torch.zeros(1, 2, 2, dtype=torch.bool))] == [0, 0]


def test_heatmaps_are_the_releases() -> None:
    data = np.load(DATA / "ae_losses_targets.npz")
    joints = torch.from_numpy(data["target/joints"])[None]
    maps = heatmaps_of_all(joints[..., :2], joints[..., 2] > 0, (32, 32), sigma=2.0)
    np.testing.assert_allclose(maps[0].numpy(), data["target/heatmaps_s2"], atol=1e-6)
    data = np.load(DATA / "dekr_losses_targets.npz")
    joints = torch.from_numpy(data["target/joints"])[None]
    sigma = torch.tensor([2.0] * 17 + [4.0])
    maps = gaussians(joints[..., :2], joints[..., 2] > 0, (32, 32), sigma=sigma)
    np.testing.assert_allclose(maps[0].numpy(), data["target/heatmaps"], atol=1e-6)
    np.testing.assert_array_equal(np.where(maps[0].numpy() > 0, 1.0, 0.1).astype("f4"), data["target/mask_factor"])


def test_offsets_are_the_releases() -> None:
    data = np.load(DATA / "dekr_losses_targets.npz")
    joints, areas = data["target/joints"], data["target/area"][:, 0]
    known = (joints[:, :17, 2] > 0) & ((joints[:, :17, :2] >= 0) & (joints[:, :17, :2] < 32)).all(axis=-1)
    made = offset_targets(joints[:, :17, :2], known, joints[:, 17, :2], areas, (32, 32))
    np.testing.assert_allclose(made[0], data["target/offset"], atol=1e-6)
    np.testing.assert_allclose(made[1], data["target/weight"], rtol=1e-6)
    loss = offset_loss(*(torch.from_numpy(data[f"loss/off_{name}"]) for name in ("pred", "gt", "weight")))
    assert loss.item() == pytest.approx(float(data["loss/off_value"]), rel=1e-6)


def test_joint_sets_are_matched_and_told_as_in_the_release() -> None:
    data, module = frame_golden("prtr_two_stage.npz", "logits", folder="seed002"), fill(JointQueries(2048))
    wanted, weights = torch.from_numpy(data["target"]), torch.from_numpy(data["target_weight"])[..., 0]
    with torch.inference_mode():
        answers = module.answers(golden_input(2, 2048, 12, 9))
    np.testing.assert_array_equal(match_joints(answers[-1], wanted).numpy(), data["matched_query"])
    losses = read_json(data, "spec")["losses"]
    for layer, name in enumerate(["_0", "_1", "_2", "_3", "_4", ""]):
        classes, places = layer_terms(answers[layer], wanted, weights)
        assert classes.item() == pytest.approx(losses[f"loss_ce{name}"], abs=1e-4)
        assert places.item() == pytest.approx(losses[f"loss_kpts{name}"], abs=1e-4)


def two_people() -> FrameTargets:
    joints = torch.rand(2, 2, 17, 2, generator=torch.Generator().manual_seed(3)) * 50 + 5
    known = torch.ones(2, 2, 17, dtype=torch.bool)
    known[1, 1] = False
    return FrameTargets(joints, known, (64, 64))


def outputs_for(name: str) -> tuple:
    draw = torch.Generator().manual_seed(5)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw).requires_grad_()

    if name.startswith("associative"):
        return some(2, 34, 16, 16), some(2, 17, 32, 32)
    if name.startswith("centre_offsets"):
        return some(2, 18, 16, 16), some(2, 34, 16, 16)
    leaves = some(2, 2, 5, 2), some(2, 2, 5, 4), some(2, 5, 20, 18), some(2, 5, 20, 2)
    return FrameAnswers(leaves[0], leaves[1].sigmoid(), leaves[2], leaves[3].sigmoid())


@pytest.mark.parametrize("name", list(frame_losses))
def test_losses_fall_along_their_gradient_and_bear_empty_frames(name: str) -> None:
    outputs, targets = outputs_for(name), two_people()
    leaves = list(outputs)
    loss = frame_losses[name](outputs, targets)
    gradients = torch.autograd.grad(loss, leaves)
    assert all(part.isfinite().all() and part.abs().sum() > 0 for part in gradients)
    size = sum(part.square().sum() for part in gradients).sqrt()
    moved = [part.detach() - 1e-3 * slope / size for part, slope in zip(leaves, gradients, strict=True)]
    stepped = type(outputs)(*moved) if hasattr(outputs, "_fields") else tuple(moved)
    assert frame_losses[name](stepped, targets) < loss
    nobody = FrameTargets(targets.joints, torch.zeros_like(targets.known), targets.size)
    assert frame_losses[name](outputs, nobody).isfinite()


def test_frames_are_augmented_with_everyone_in_them(smoke_val) -> None:
    samples = collect_frames(open_dataset("synthtrack-smoke", "val"))
    assert len(samples) == len(samples.joints) == len(samples.sequence)
    crop = CropSpec(size=(192, 96), enlarge=1.0)
    still = Augmentation(scale=0, rotation=0, shift=0, flip=0, colour=0)
    stream = FrameStream(samples, crop, POSETRACK17, still, 2, 0)
    batch, again = stream.batch(3), stream.batch(3)
    assert batch.crops.shape == (2, 1, 96, 192, 3)
    assert (batch.crops == again.crops).all() and (batch.joints == again.joints).all()
    row, zoom = stream.rows(3)[0], 96 / 108  # smoke frames are 192x108
    people = samples.joints[row]
    placed = (people - [96, 54]) * zoom + [96, 48]
    known = batch.weights[0, : len(people)] > 0
    np.testing.assert_allclose(batch.joints[0, : len(people)][known], placed[known], atol=1e-3)
    mirrored = FrameStream(samples, crop, POSETRACK17, Augmentation(0, 0, 0, 0, 1, 0), 2, 0).batch(3)
    assert (mirrored.crops == batch.crops[:, :, :, ::-1]).all()
    back = mirrored.joints[0, : len(people)][:, POSETRACK17.flip_order]
    known &= mirrored.weights[0, : len(people)][:, POSETRACK17.flip_order] > 0
    np.testing.assert_allclose(191 - back[known][:, 0], placed[known][:, 0], atol=1e-3)


def test_every_whole_frame_method_names_a_recipe_with_a_loss_for_frames() -> None:
    from harness.training.recipes import open_recipe

    for name in ("higher_hrnet", "dekr", "prtr_end_to_end"):
        for preset in methods[name].presets:
            assert open_recipe(methods[name].recipe(preset)).loss in frame_losses
    assert open_recipe(methods["prtr"].recipe("tiny")).loss == "joint_set"
