"""What counts for nothing in training on whole frames: where it lies, what it changes, and what it leaves as it was."""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_scenes import pose, sequence

from harness.datasets import open_dataset
from harness.datasets.sequences import DataSet
from harness.errors import UsageError
from harness.methods import CropSpec, methods
from harness.skeletons import POSETRACK17
from harness.training.frame_losses import frame_losses, heatmap_loss, heatmap_weights
from harness.training.frame_masks import counted_px
from harness.training.frame_samples import FrameSamples, FrameStream, collect_frames
from harness.training.frame_targets import FrameTargets
from harness.training.frame_trainer import FrameTrainer
from harness.training.recipe import Augmentation
from harness.training.recipes import open_recipe
from harness.training.trainer import Trainer

DATA = Path(__file__).parent / "data" / "whole_frame"
CROP = CropSpec(size=(192, 96), enlarge=1.0)
REGION = np.array([[40.0, 20.0], [150.0, 35.0], [120.0, 90.0], [55.0, 70.0]])
AROUND = np.ones((5, 5), dtype=np.uint8)


def grey_frames(*, ignored: bool) -> FrameSamples:
    """Two grey frames of 192 x 108 px; in the first the region is white, and ignored if asked for."""
    plain = np.full((108, 192, 3), 128, dtype=np.uint8)
    shown = cv2.fillPoly(plain.copy(), [REGION.astype(np.int32)], (255, 255, 255))
    joints = np.random.default_rng(0).uniform(0, 100, (1, 17, 2))
    return FrameSamples(
        [cv2.imencode(".png", picture)[1].tobytes() for picture in (shown, plain)],
        [joints, joints], [np.ones((1, 17), dtype=bool)] * 2, [np.array([900.0]), np.array([400.0])],
        [(REGION,) if ignored else (), ()], np.array([0, 1]),
    )  # fmt: skip


def test_a_mask_is_moved_turned_and_mirrored_with_the_picture() -> None:
    how = Augmentation(scale=0.35, rotation=30.0, shift=0.1, flip=0.5, colour=0.0)
    stream = FrameStream(grey_frames(ignored=True), CROP, POSETRACK17, how, 2, 3)
    unmasked = FrameStream(grey_frames(ignored=False), CROP, POSETRACK17, how, 2, 3)
    for step in range(8):
        batch, plain = stream.batch(step), unmasked.batch(step)
        assert batch.counted.shape == (2, 96, 192) and plain.counted is None
        assert all((getattr(batch, each.name) == getattr(plain, each.name)).all()
                   for each in fields(batch) if each.name != "counted")  # fmt: skip
        first, second = np.argsort(stream.rows(step))
        assert batch.counted[second].all()
        ignored, white = (
            part.astype(np.uint8) for part in (~batch.counted[first], batch.crops[first, 0, ..., 0] > 191)
        )
        assert ignored.mean() > 0.1
        assert (white[cv2.erode(ignored, AROUND) > 0] == 1).all()
        assert (white <= cv2.dilate(ignored, AROUND)).all()


def test_regions_beyond_the_frame_and_of_no_extent_do_no_harm() -> None:
    whole = np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]])
    assert not counted_px((whole,), np.eye(2, 3), (8, 6)).any()
    assert counted_px((whole[:2], whole[:0]), np.eye(2, 3), (8, 6)).all()
    two = counted_px((whole, whole), np.eye(2, 3), (8, 6))  # a region twice is no hole
    assert not two.any()


def few_people(tmp_path: Path) -> DataSet:
    """Two frames with a person each; the first has an ignore region and a person without joints besides."""
    people = [(0, 1, pose(20, 20)), (0, 2, pose(90, 60)), (1, 1, pose(30, 20))]
    made = sequence(people, ignore={0: (REGION,)})
    truth = made.truth
    annotated = truth.annotated.copy()
    annotated[1] = False
    boxes = np.array([[10.0, 10, 60, 50], [80, 50, 130, 100], [20, 10, 40, 30]])
    frames = tuple(replace(frame, image=f"{frame.index}.png", size=(192, 108)) for frame in made.frames)
    for frame in frames:
        cv2.imwrite(str(tmp_path / frame.image), np.zeros((108, 192, 3), dtype=np.uint8))
    made = replace(made, frames=frames, truth=replace(truth, annotated=annotated, boxes=boxes))
    return DataSet("hand", "train", tmp_path, (made,), "sha256:0")


def test_ignore_regions_and_people_without_joints_are_collected(tmp_path: Path) -> None:
    dataset = few_people(tmp_path)
    samples = collect_frames(dataset, masked=True)
    assert [len(people) for people in samples.joints] == [1, 1] and [len(each) for each in samples.ignored] == [2, 0]
    np.testing.assert_array_equal(samples.ignored[0][0], REGION)
    np.testing.assert_array_equal(samples.ignored[0][1], [[80, 50], [130, 50], [130, 100], [80, 100]])
    assert [areas.tolist() for areas in samples.areas] == [[50 * 40], [20 * 20]]
    assert collect_frames(dataset).ignored == [(), ()]
    assert collect_frames(dataset, minimum_joints=0, masked=True).ignored[0][1:] == ()  # all are targets
    (made,) = dataset.sequences
    unknown = np.full((3, 4), np.nan)
    nowhere = replace(dataset, sequences=(replace(made, truth=replace(made.truth, boxes=unknown)),))
    assert len(collect_frames(nowhere, masked=True).ignored[0]) == 1
    assert samples.of(np.array([1])).ignored == [()]


def test_masked_errors_are_the_releases() -> None:
    data = np.load(DATA / "ae_losses_targets.npz")
    maps, wanted, mask = (torch.from_numpy(data[f"ae/hm_{name}"]) for name in ("pred", "gt", "mask"))
    weights = heatmap_weights(wanted, mask[:, None] > 0, background=1.0)
    assert (mask == 0).any() and set(mask.unique().tolist()) == {0, 1}
    each = [heatmap_loss(*parts).item() for parts in zip(maps, wanted, weights, strict=True)]
    np.testing.assert_allclose(each, data["ae/hm_value"], rtol=1e-6)
    data = np.load(DATA / "dekr_losses_targets.npz")
    loss = heatmap_loss(*(torch.from_numpy(data[f"loss/hm_{name}"]) for name in ("pred", "gt", "mask")))
    assert loss.item() == pytest.approx(float(data["loss/hm_value"]), rel=1e-6)


@cache
def outputs_for(name: str) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(5)
    shapes = [(34, 16), (17, 32)] if name.startswith("associative") else [(18, 16), (34, 16)]
    return tuple(torch.randn(2, count, side, side, generator=draw).requires_grad_() for count, side in shapes)


def targets(counted: torch.Tensor | None, **more: torch.Tensor) -> FrameTargets:
    joints = torch.rand(2, 2, 17, 2, generator=torch.Generator().manual_seed(3)) * 50 + 5
    return FrameTargets(joints, torch.ones(2, 2, 17, dtype=torch.bool), (64, 64), counted, **more)


ON_MAPS = [name for name in frame_losses if name != "person_set"]


@pytest.mark.parametrize("name", ON_MAPS)
def test_a_mask_of_nothing_changes_no_bit(name: str) -> None:
    outputs = outputs_for(name)
    plain = frame_losses[name](outputs, targets(None))
    masked = frame_losses[name](outputs, targets(torch.ones(2, 64, 64, dtype=torch.bool)))
    assert torch.equal(plain, masked)
    gradients = [torch.autograd.grad(loss, outputs) for loss in (plain, masked)]
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", ON_MAPS)
def test_heatmaps_learn_nothing_where_masked_and_the_rest_learns_as_before(name: str) -> None:
    outputs, counted = outputs_for(name), torch.ones(2, 64, 64, dtype=torch.bool)
    counted[0, 16:48, 20:] = False
    plain, masked = (
        torch.autograd.grad(frame_losses[name](outputs, targets(mask)), outputs) for mask in (None, counted)
    )
    joints = 17 if name.startswith("associative") else 18
    for part, before in zip(masked, plain, strict=True):
        side, heat = part.shape[-1], slice(None, joints)
        if name.startswith("centre") and part is masked[1]:
            heat = slice(0)
        cells = counted[:, :: 64 // side, :: 64 // side]
        assert (part[:, heat].movedim(1, -1)[~cells] == 0).all()
        assert torch.equal(part[:, heat].movedim(1, -1)[cells], before[:, heat].movedim(1, -1)[cells])
        assert torch.equal(part[:, heat.stop :], before[:, heat.stop :])  # tags, offsets


def test_cells_read_the_px_under_them() -> None:
    counted = torch.zeros(1, 8, 12, dtype=torch.bool)
    counted[0, 4, 9] = True
    on_cells = targets(counted)
    found = replace(on_cells, size=(12, 8)).counted_on((4, 2))
    assert found.tolist() == [[[[False] * 4, [False, False, False, True]]]]
    assert targets(None).counted_on((4, 2)) is None


def test_small_people_have_no_centre_in_dekr_as_released() -> None:
    outputs = outputs_for("centre_offsets")
    large, small = (targets(None, areas=torch.tensor([[2000.0, area]] * 2)) for area in (1024.0, 1023.0))
    released, plain = frame_losses["centre_offsets_coco"], frame_losses["centre_offsets"]
    assert torch.equal(released(outputs, large), plain(outputs, large))
    assert torch.equal(plain(outputs, large), plain(outputs, small))
    alone = replace(small, known=small.known.clone())
    alone.known[:, 1] = False
    maps, offsets = torch.autograd.grad(released(outputs, small), outputs)
    maps_alone, offsets_alone = torch.autograd.grad(plain(outputs, alone), outputs)
    assert torch.equal(offsets, offsets_alone) and torch.equal(maps[:, 17], maps_alone[:, 17])
    assert not torch.equal(maps[:, :17], maps_alone[:, :17])  # the joints of both are shown


def test_released_recipes_mask_and_those_of_shipped_weights_are_as_they_were() -> None:
    assert [open_recipe(name).masked for name in ("higher_hrnet", "dekr")] == [True, True]
    assert open_recipe("dekr").loss == "centre_offsets_coco"
    tiny = [open_recipe(methods[name].recipe("tiny")) for name in ("higher_hrnet", "dekr", "prtr_end_to_end")]
    assert [(recipe.masked, recipe.loss) for recipe in tiny] == [
        (False, "associative_embedding_quick"), (False, "centre_offsets"), (False, "person_set")
    ]  # fmt: skip


def test_a_training_masks_what_its_data_ignore(smoke_val: Path) -> None:
    dataset, card = open_dataset("synthtrack-smoke", "val", root=smoke_val), methods["higher_hrnet"]
    assert any(item.truth.ignore for item in dataset.sequences)
    recipe = replace(open_recipe("higher_hrnet-tiny"), batch_size=12, held_out=0.5)
    made = [
        FrameTrainer.make(card, None, dataset, replace(recipe, masked=masked), 0, torch.device("cpu"))
        for masked in (False, True)
    ]
    streams = [(trainer.learned, trainer.held_out) for trainer in made]
    assert not any(any(stream.samples.ignored) for stream in streams[0])
    place = next(place for place, stream in enumerate(streams[1]) if any(stream.samples.ignored))
    plain, masked = (stream[place].batch(0) for stream in streams)
    assert plain.counted is None and not masked.counted.all()
    assert (plain.crops == masked.crops).all() and (plain.joints == masked.joints).all()
    for trainer in made:
        trainer.method.module.eval()
    with torch.inference_mode():
        assert made[1]._loss(masked) < made[0]._loss(plain)
        assert torch.equal(made[1]._loss(plain), made[0]._loss(plain))


def test_recipes_for_boxes_know_no_mask(smoke_val: Path) -> None:
    dataset = open_dataset("synthtrack-smoke", "val", root=smoke_val)
    with pytest.raises(UsageError, match="masked is for whole frames"):
        Trainer.make(methods["hrnet"], None, dataset, replace(open_recipe("tiny"), masked=True), 0, torch.device("cpu"))
