"""Training: losses against goldens, samples and augmentation by geometry, resuming to the same curve."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.codecs import HeatmapCodec, Targets
from harness.datasets import DataSet, Frame, Sequence, Truth
from harness.errors import DataError, UsageError, WeightsError
from harness.inference.crops import centre_and_scale, crop_matrices, warp
from harness.inference.images import read_image
from harness.inference.loaded import Loaded
from harness.methods import CropSpec, MethodCard, Preset
from harness.skeletons import POSETRACK17
from harness.training import Augmentation, Recipe, losses, train
from harness.training.batches import Stream, plain_batch
from harness.training.held_out import held_out_sequences
from harness.training.losses import joint_mse, keypoint_mse, spatial_cross_entropy
from harness.training.samples import collect
from harness.training.schedule import learning_rate
from harness.training.trainer import in_clips

DATA = Path(__file__).parent / "data"
JOINTS = len(POSETRACK17)
STILL = Augmentation(scale=0, rotation=0, shift=0, flip=0, colour=0)


class Small(torch.nn.Module):
    """Two convolutions, with dropout so that a resumed run has random numbers to get right."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Conv2d(8, JOINTS, 3, stride=2, padding=1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.body(clips[:, 0])))
        return self.head(torch.nn.functional.dropout(features, 0.2, self.training))


PRESET = Preset(CropSpec((24, 32)), "heatmap", codec_options={"sigma": 1.0, "activation": "softmax"})
CARD = MethodCard("small", "Small", "for tests", {"test": PRESET}, lambda options: Small(), "test")
QUICK = Recipe(batch_size=8, held_out=0.2, minimum_joints=3, warm_up=3, augmentation=STILL)


def make_video(root, number, generator):
    """Two dots on grey: nose and left wrist, whose places are the truth; a second person in every other frame."""
    frames, joints, owner = [], [], []
    for index in range(4):
        path = Path("images") / f"v{number}" / f"{index:06d}.png"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        image = np.full((90, 120, 3), 90, np.uint8)
        for person in range(1 + index % 2):
            pose = np.zeros((JOINTS, 2))
            pose[:4] = generator.uniform([10 + 50 * person, 10], [50 + 50 * person, 80], (4, 2)).round()
            for place, colour in zip(pose[:4], ((0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)), strict=True):
                cv2.circle(image, tuple(int(value) for value in place), 2, colour, -1)
            joints.append(pose)
            owner.append(index)
        cv2.imwrite(str(root / path), image)
        frames.append(Frame(str(path), index, index, size=(120, 90)))
    count = len(owner)
    pose = np.array(joints)
    annotated = np.zeros((count, JOINTS), bool)
    annotated[:, :4] = True
    low, high = pose[:, :4].min(axis=1) - 4, pose[:, :4].max(axis=1) + 4
    truth = Truth(
        frame=np.array(owner), joints=pose, annotated=annotated, boxes=np.hstack([low, high]),
        head_boxes=np.tile([0.0, 0, 8, 6], (count, 1)), track_ids=np.arange(count), person_ids=np.arange(count),
        has_points=np.ones(count, bool),
    )  # fmt: skip
    return Sequence(f"v{number}", tuple(frames), truth)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root, generator = tmp_path_factory.mktemp("train"), np.random.default_rng(4)
    return DataSet("made", "train", root, tuple(make_video(root, n, generator) for n in range(6)), "sha256:made")


def stream_of(dataset, *, augmentation=STILL, preset=PRESET, batch_size=8, seed=3):
    samples = collect(dataset, preset, minimum_joints=3)
    return Stream(samples, preset.crop, "plain", POSETRACK17, augmentation, batch_size, seed)


@pytest.mark.parametrize(
    ("name", "loss", "weighted"),
    [
        ("JointsMSE_weighted", joint_mse, True),
        ("JointsMSE_unweighted", joint_mse, False),
        ("mmpose_KeypointMSE_weighted", keypoint_mse, True),
        ("mmpose_KeypointMSE_plain", keypoint_mse, False),
    ],
)
def test_mean_squared_errors_equal_upstream(name, loss, weighted):
    golden = np.load(DATA / "losses.npz")
    expected = golden["loss_values"][json.loads(str(golden["loss_names"])).index(name)]
    weights = torch.from_numpy(golden["weight"])[:, :, 0]
    targets = Targets(torch.from_numpy(golden["target"]), weights if weighted else torch.ones_like(weights))
    assert loss(torch.from_numpy(golden["pred"]), targets).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_by_hand():
    maps = torch.zeros(1, 2, 1, 4)
    wanted = torch.tensor([[[[0.0, 3.0, 1.0, 0.0]], [[9.0, 9.0, 9.0, 9.0]]]])
    targets = Targets(wanted, torch.tensor([[1.0, 0.0]]))
    assert spatial_cross_entropy(maps, targets).item() == pytest.approx(np.log(4))
    logits = torch.log(torch.tensor([[[[1e-9, 0.75, 0.25, 1e-9]], [[1.0, 1.0, 1.0, 1.0]]]]))
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert spatial_cross_entropy(logits, targets).item() == pytest.approx(entropy, abs=1e-5)


def test_nobody_known_is_no_loss_and_no_gradient():
    outputs = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = spatial_cross_entropy(outputs, Targets(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3)))
    loss.backward()
    assert loss.item() == 0 and torch.equal(outputs.grad, torch.zeros_like(outputs))


def test_losses_are_registered():
    assert set(losses) >= {"joint_mse", "keypoint_mse", "spatial_cross_entropy"}


def test_schedule_warms_up_and_falls_to_zero():
    recipe = Recipe(learning_rate=2.0, warm_up=10)
    rates = [learning_rate(recipe, step, 110) for step in range(110)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0) and 0 < rates[-1] < 0.001
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))


def test_held_out_sequences_are_spread():
    assert held_out_sequences(600, 0.05).tolist() == list(range(10, 600, 20))
    assert held_out_sequences(2, 0.01).tolist() == [1] and held_out_sequences(9, 0).tolist() == []


def test_plain_sample_shows_what_the_engine_would_crop(dataset):
    stream = stream_of(dataset, preset=replace(PRESET, crop=CropSpec((96, 128))))
    batch = plain_batch(stream, np.arange(len(stream.samples)))
    truth = dataset.sequences[0].truth
    centre, scale = centre_and_scale(truth.boxes, (96, 128))
    matrices = crop_matrices(centre, scale, (96, 128))
    for row in range(len(truth)):
        image = read_image(dataset.root / dataset.sequences[0].frames[truth.frame[row]].image)
        expected = warp(image, matrices[row], (96, 128))[:, :, ::-1]
        assert np.abs(batch.crops[row, 0].astype(int) - expected).max() <= 2
        joints = truth.joints[row, :4] @ matrices[row, :, :2].T + matrices[row, :, 2]
        np.testing.assert_allclose(batch.joints[row, :4], joints, atol=1e-3)
    assert batch.weights[:, :4].all() and not batch.weights[:, 4:].any()


def test_large_people_are_kept_small(dataset):
    samples = collect(dataset, replace(PRESET, crop=CropSpec((6, 8))), minimum_joints=3)
    assert samples.zooms.min() < 1
    assert all(max(picture.shape) <= 1.6 * 8 + 2 for row in range(len(samples)) for picture in samples.shown(row))


def test_pictures_of_large_splits_are_kept_as_jpeg(dataset, monkeypatch):
    plain = stream_of(dataset).batch(0)
    monkeypatch.setattr("harness.training.samples.ROOM", 1000)
    stream = stream_of(dataset)
    assert isinstance(stream.samples.pictures[0][0], bytes)
    gap = np.abs(stream.batch(0).crops.astype(int) - plain.crops)
    assert 0 < gap.mean() < 8 and np.array_equal(stream.batch(0).joints, plain.joints)


def brightest(crop, channel):
    """Centre of gravity (x, y) of one pure colour."""
    others = [other for other in range(3) if other != channel]
    weight = np.clip(crop[:, :, channel].astype(float) - crop[:, :, others].max(axis=2) - 40, 0, None)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum() if weight.sum() > 200 else None


def test_joints_follow_every_augmentation(dataset):
    """The red, green and blue dots are where the joints are said to be, turned, scaled, shifted and mirrored."""
    strong = Augmentation(scale=0.3, rotation=30, shift=0.1, flip=0.5, colour=0)
    preset = replace(PRESET, crop=CropSpec((96, 128)))
    stream = stream_of(dataset, augmentation=strong, preset=preset)
    errors = []
    for step in range(6):
        batch = stream.batch(step)
        for row, crop in enumerate(batch.crops[:, 0]):
            for joint, channel in ((0, 0), (1, 1), (2, 2)):
                seen = brightest(crop, channel)
                inside = batch.weights[row, joint] and (batch.joints[row, joint] > 6).all()
                if seen is not None and inside and (batch.joints[row, joint] < [90, 122]).all():
                    errors.append(np.linalg.norm(seen - batch.joints[row, joint]))
    assert len(errors) > 60
    assert np.median(errors) < 1.5


def test_mirrored_samples_swap_left_and_right(dataset):
    stream = stream_of(dataset, augmentation=replace(STILL, flip=1.0), preset=replace(PRESET, crop=CropSpec((96, 128))))
    rows = stream.rows(0)
    mirrored, plain = stream.batch(0), plain_batch(stream, rows)
    left, right = POSETRACK17.index("left_ear"), POSETRACK17.index("right_ear")
    assert plain.weights[:, left].all() and not plain.weights[:, right].any()
    assert mirrored.weights[:, right].all() and not mirrored.weights[:, left].any()
    np.testing.assert_allclose(mirrored.joints[:, right, 0], 95 - plain.joints[:, left, 0], atol=1e-4)
    assert np.array_equal(mirrored.crops[:, 0], plain.crops[:, 0, :, ::-1])


def test_all_frames_of_a_clip_are_changed_alike(dataset):
    preset = replace(PRESET, support=(0, 0, -1))
    stream = stream_of(dataset, augmentation=Augmentation(), preset=preset)
    crops = stream.batch(1).crops
    assert np.array_equal(crops[:, 0], crops[:, 1]) and not np.array_equal(crops[:, 0], crops[:, 2])


def test_colours_of_a_sample_change_by_its_gain_and_bias(dataset):
    batch = stream_of(dataset, augmentation=Augmentation()).batch(2)
    method = Loaded(CARD, "test", PRESET, Small(), HeatmapCodec(size=(24, 32)))
    clips = in_clips(method, batch, torch.device("cpu")).numpy()
    assert clips.shape == (8, 1, 3, 32, 24) and len(np.unique(batch.gain)) == 24
    for row, place, channel, y, x in np.random.default_rng(0).integers(0, [8, 1, 3, 32, 24], (50, 5)):
        value = batch.crops[row, place, y, x, channel] / 255 * batch.gain[row, channel] + batch.bias[row, channel]
        expected = (np.clip(value, 0, 1) - PRESET.crop.mean[channel]) / PRESET.crop.std[channel]
        assert clips[row, place, channel, y, x] == pytest.approx(expected, abs=1e-5)


def test_stream_is_seeded_and_covers_every_sample_once_an_epoch(dataset):
    stream, again, other = stream_of(dataset), stream_of(dataset), stream_of(dataset, seed=4)
    count = len(stream.samples)
    seen = np.concatenate([stream.rows(step) for step in range(-(-count // 8))])[:count]
    assert sorted(seen.tolist()) == list(range(count))
    assert np.array_equal(stream.batch(5).crops, again.batch(5).crops)
    assert not np.array_equal(stream.rows(0), other.rows(0))


def test_network_learns_and_leaves_its_files(dataset, tmp_path):
    told = []
    result = train(
        CARD, None, dataset, out=tmp_path, steps=60, recipe=QUICK, log_every=10, evaluations=2, progress=told.append
    )
    log = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert float(log[-1]["loss"]) < float(log[0]["loss"]) - 0.25
    assert [row["step"] for row in log] == ["10", "20", "30", "40", "50", "60"]
    assert [bool(row["held_out_pckh"]) for row in log] == [False, False, True, False, False, True]
    assert told[-1].step == told[-1].steps == 60 and told[-1].held_out_pckh == result.held_out_pckh
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["fingerprint"] == "sha256:made" and record["sha256"] == result.sha256 and record["clips"] == 480
    assert record["samples"] + record["held_out_samples"] == 6 * 6 and record["held_out_samples"] == 6
    module = Small()
    module.load_state_dict(load_file(result.weights))
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.safetensors", "last.safetensors", "checkpoint.pt", "record.json", "log.csv",
    }  # fmt: skip


STEPPED = {"optimiser": "adam", "schedule": "steps", "milestones": (1, 2), "epochs": 3, "average": 0.9}


@pytest.mark.parametrize(("stop_at", "choices"), [(7, {}), (20, {}), (25, STEPPED)])
def test_resumed_training_equals_an_unbroken_one(dataset, tmp_path, stop_at, choices):
    recipe = replace(QUICK, augmentation=Augmentation(half_body=0.3), clip_norm=5.0, **choices)
    options = {"steps": 30, "recipe": recipe, "log_every": 5, "evaluations": 3, "checkpoint_seconds": 0.0}
    whole = train(CARD, None, dataset, out=tmp_path / "whole", **options)

    class Killed(BaseException):
        pass

    def stop(report):
        if report.step >= stop_at:
            raise Killed

    with pytest.raises(Killed):
        train(CARD, None, dataset, out=tmp_path / "broken", progress=stop, **options)
    assert not (tmp_path / "broken" / "record.json").exists()
    resumed = train(CARD, None, dataset, out=tmp_path / "broken", **options)
    curves = [
        [(row["step"], row["loss"], row["held_out_pckh"]) for row in run.record["curve"]] for run in (whole, resumed)
    ]
    assert curves[0] == curves[1]
    one, two = load_file(whole.weights), load_file(resumed.weights)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_checkpoint_of_another_training_is_refused(dataset, tmp_path):
    train(CARD, None, dataset, out=tmp_path, steps=2, recipe=QUICK)
    with pytest.raises(UsageError, match=r"is of another training \(recipe, seed differ\)"):
        train(CARD, None, dataset, out=tmp_path, steps=2, recipe=replace(QUICK, learning_rate=1.0), seed=1)
    with pytest.raises(UsageError, match=r"is of another training \(budget differ\)"):
        train(CARD, None, dataset, out=tmp_path, steps=4, recipe=QUICK)
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        train(CARD, None, dataset, out=tmp_path, steps=2, recipe=QUICK)
    assert train(CARD, None, dataset, out=tmp_path, steps=2, recipe=QUICK, resume=False).record["steps"] == 2


def test_frozen_parts_do_not_move_at_all(dataset, tmp_path):
    train(CARD, None, dataset, out=tmp_path / "first", steps=3, recipe=QUICK)
    start = tmp_path / "first" / "last.safetensors"
    frozen = replace(QUICK, frozen=("body.", "norm."))
    result = train(CARD, None, dataset, out=tmp_path / "second", steps=5, recipe=frozen, start=start)
    before, after = load_file(start), load_file(result.weights)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"head.weight", "head.bias"}


def test_start_weights_must_have_a_place(dataset, tmp_path):
    train(CARD, None, dataset, out=tmp_path / "first", steps=1, recipe=QUICK)
    start = tmp_path / "first" / "last.safetensors"
    with pytest.raises(WeightsError, match="have no place under"):
        train(CARD, None, dataset, out=tmp_path / "x", steps=1, recipe=QUICK, start=start, start_prefix="backbone.")


def test_a_start_that_is_not_there_is_told_first(dataset, tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        train(CARD, None, dataset, out=tmp_path / "x", steps=1, recipe=QUICK, start=tmp_path / "no.safetensors")
    with pytest.raises(UsageError, match="did you mean 'hrnet-tiny-backbone'"):
        train(CARD, None, dataset, out=tmp_path / "x", steps=1, recipe=QUICK, start="hrnet-tiny-backbon")
    assert not (tmp_path / "x").exists()


def test_budgets(dataset, tmp_path):
    with pytest.raises(UsageError, match="exactly one of"):
        train(CARD, None, dataset, out=tmp_path, steps=1, epochs=1)
    timed = train(CARD, None, dataset, out=tmp_path / "timed", seconds=0.5, recipe=QUICK)
    assert 1 <= timed.record["steps"] < 10_000
    epochs = train(CARD, None, dataset, out=tmp_path / "epochs", epochs=2, recipe=QUICK)
    assert epochs.record["steps"] == round(2 * 30 / 8)


def test_nothing_to_learn_from_is_said(dataset, tmp_path):
    with pytest.raises(DataError, match="nobody has a box and 9 annotated joints"):
        train(CARD, None, dataset, out=tmp_path, steps=1, recipe=replace(QUICK, minimum_joints=9))
    one = replace(dataset, sequences=dataset.sequences[:1])
    still = MethodCard("still", "Still", "none", {"test": PRESET}, lambda options: torch.nn.Identity(), "test")
    with pytest.raises(UsageError, match="no parameters"):
        train(still, None, one, out=tmp_path, steps=1, recipe=QUICK)


def test_sigma_of_the_target_is_learned_by_cross_entropy():
    """The optimum of the loss scores 1 in the codec: probabilities as sharp as the target."""
    codec = HeatmapCodec(size=(96, 96), sigma=1.5, activation="softmax")
    targets = codec.encode(torch.tensor([[[48.0, 48.0]]]), torch.ones(1, 1))
    decoded = codec.decode(torch.log(targets.values + 1e-12))
    assert decoded.scores.item() == pytest.approx(1, abs=0.02) and decoded.joints.tolist() == [[[12.0, 12.0]]]
