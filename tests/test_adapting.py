"""RegDA as a recipe: who learns from what, that it goes on where it stopped, and what it is not made for."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.boxes import boxes_from_file, revised
from harness.datasets import DataSet, open_dataset
from harness.errors import DataError, UsageError
from harness.methods import CropSpec, MethodCard, Preset, methods
from harness.training import Adaptation, Augmentation, Recipe, open_recipe, train
from harness.training.adapting import AdaptingTrainer, adapting
from harness.training.trainer import Trainer

PRESET = Preset(CropSpec((24, 32)), "heatmap", codec_options={"sigma": 1.0, "activation": "softmax"})
RECIPE = Recipe(
    batch_size=4, held_out=0.2, minimum_joints=3, warm_up=0, augmentation=Augmentation(0, 0, 0, 0, 0, 0),
    adaptation=Adaptation(horizon=2),
)  # fmt: skip


class Small(torch.nn.Module):
    """Features and a last layer, as HRNet has them."""

    widths = (8,)

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 5, stride=4, padding=2)
        self.final_layer = torch.nn.Conv2d(8, 17, 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(images))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.features(clips[:, 0]))


CARD = MethodCard("small", "Small", "for tests", {"test": PRESET}, lambda options: Small(), "test")


@pytest.fixture
def data(smoke_val):
    return open_dataset("synthtrack-smoke", "val", root=smoke_val)


@pytest.fixture
def trainer(data) -> AdaptingTrainer:
    made = adapting(Trainer.make(CARD, None, data, RECIPE, 0, torch.device("cpu")), data)
    made.learn_mode()
    made.progress.steps = 10
    return made


@pytest.fixture
def frames(smoke_val, tmp_path) -> Path:
    """A PoseTrack18 folder whose test split has pictures and no labels."""
    shutil.copytree(smoke_val / "images" / "val", tmp_path / "frames" / "images" / "test")
    return tmp_path / "frames"


@pytest.fixture
def detections(data, tmp_path) -> Path:
    """What a detector found in those pictures: the true boxes in whole px, and people who are none."""
    entries = []
    for sequence in data.sequences:
        for place, box in zip(sequence.truth.frame.tolist(), sequence.truth.boxes.round(), strict=True):
            name = sequence.frames[place].image.replace("images/val/", "images/test/")
            x1, y1, x2, y2 = box.tolist()
            entries.append({"image_name": name, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 0.9, "category_id": 1})
    entries += [{**entries[0], "score": 0.1}, {**entries[0], "category_id": 2}]
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def unlabelled(frames) -> DataSet:
    return open_dataset("posetrack18", "test", root=frames)


def values(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def changed(before: dict[str, torch.Tensor], module: torch.nn.Module) -> set[str]:
    return {name for name, value in module.named_parameters() if not torch.equal(before[name], value)}


def test_astray_the_adversary_learns_alone_and_then_the_features_do(trainer) -> None:
    module, target = trainer.method.module, trainer.target.batch(5)
    trainer.adversary[0].weight.data.normal_(std=0.1)  # gradients through a head of 1e-3 twice would be nothing
    trainer.adversary[3].weight.data.normal_(std=0.1)
    before = values(module), values(trainer.adversary)
    trainer._update(trainer._on_target(target, 5, astray=True), trainer.adversary.parameters())
    assert not changed(before[0], module) and changed(before[1], trainer.adversary)
    before = values(module), values(trainer.adversary)
    trainer._update(trainer._on_target(target, 5, astray=False), module.body.parameters())
    assert changed(before[0], module) == {"body.weight", "body.bias"} and not changed(before[1], trainer.adversary)


def test_an_average_follows_all_three_updates(data) -> None:
    recipe = replace(RECIPE, average=0.5)
    trainer = adapting(Trainer.make(CARD, None, data, recipe, 0, torch.device("cpu")), data)
    trainer.learn_mode()
    trainer.ready()
    trainer.progress.steps = 10
    trainer.adversary[3].weight.data.normal_(std=0.1)
    before = values(trainer.average)
    trainer.step(0, trainer.learned.batch(0))  # the average of step 0 moves 0.9 of the way
    for name, now in trainer.method.module.named_parameters():
        torch.testing.assert_close(dict(trainer.average.named_parameters())[name], before[name].lerp(now, 0.9))


def test_the_source_teaches_all(trainer) -> None:
    module = trainer.method.module
    before = values(module), values(trainer.adversary)
    assert trainer.step(0, trainer.learned.batch(0)).isfinite()
    assert {"body.weight", "final_layer.weight"} <= changed(before[0], module) and changed(before[1], trainer.adversary)


def test_no_label_of_the_target_is_read(trainer) -> None:
    batch = trainer.target.batch(0)
    unlabelled = replace(batch, joints=batch.joints * 0, weights=batch.weights * 0)
    with torch.no_grad():
        losses = [
            trainer._on_target(some, 0, astray=astray) for some in (batch, unlabelled) for astray in (True, False)
        ]
    assert losses[:2] == losses[2:]


def test_it_goes_on_where_it_stopped(data, tmp_path) -> None:
    known = {"recipe": RECIPE, "steps": 4, "evaluations": 2, "target": data, "threads": 1}

    def stopped(report) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(CARD, None, data, out=tmp_path / "twice", progress=stopped, **known)
    twice = train(CARD, None, data, out=tmp_path / "twice", **known)
    once = train(CARD, None, data, out=tmp_path / "once", **known)
    assert once.sha256 == twice.sha256 and once.record["target"] == data.fingerprint


def test_unlabelled_frames_teach_what_labelled_ones_with_the_same_boxes_do(
    data, unlabelled, detections, tmp_path
) -> None:
    """Resumed or not, and whatever stands in the joints of the labels."""
    boxes = boxes_from_file(detections, unlabelled, unlabelled=True)
    recipe = replace(RECIPE, augmentation=Augmentation(half_body=0.8))
    known = {"recipe": recipe, "steps": 4, "evaluations": 2, "threads": 1}

    def stopped(report) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    found = {"target": unlabelled, "target_boxes": boxes}
    with pytest.raises(KeyboardInterrupt):
        train(CARD, None, data, out=tmp_path / "twice", progress=stopped, **known, **found)
    twice = train(CARD, None, data, out=tmp_path / "twice", **known, **found)
    once = train(CARD, None, data, out=tmp_path / "once", **known, **found)
    assert once.sha256 == twice.sha256
    assert once.record["target_boxes"] == boxes.sha256 and once.record["target"] == unlabelled.fingerprint
    assert once.record["target_boxes_from"] == "detections.json (score >= 0.2)"
    assert (once.record["target_dataset"], once.record["target_split"]) == ("posetrack18", "test")
    assert once.record["target_samples"] == len(boxes) == sum(len(sequence.truth) for sequence in data.sequences)
    for joints in (None, 7.0):
        target = whole_boxes(data, joints)
        labelled = train(CARD, None, data, out=tmp_path / f"labelled{joints}", target=target, **known)
        assert labelled.sha256 == once.sha256 and "target_boxes" not in labelled.record
        assert labelled.record["target_boxes_from"] == "labels"


def whole_boxes(data: DataSet, joints: float | None) -> DataSet:
    """The data set with boxes in whole px and, if given, all joints in one place."""
    truths = [replace(sequence.truth, boxes=sequence.truth.boxes.round()) for sequence in data.sequences]
    if joints is not None:
        truths = [replace(truth, joints=np.full_like(truth.joints, joints)) for truth in truths]
    pairs = zip(data.sequences, truths, strict=True)
    return replace(data, sequences=tuple(replace(sequence, truth=truth) for sequence, truth in pairs))


def test_a_training_goes_on_with_its_own_boxes_and_pictures_alone(data, unlabelled, detections, tmp_path) -> None:
    boxes = boxes_from_file(detections, unlabelled, unlabelled=True)
    known = {"recipe": RECIPE, "steps": 1, "out": tmp_path / "out", "threads": 1}
    train(CARD, None, data, target=unlabelled, target_boxes=boxes, **known)
    fewer = revised(boxes, note="fewer", rows=np.arange(len(boxes) - 1))
    with pytest.raises(UsageError, match=r"another training \(target_boxes differ\)"):
        train(CARD, None, data, target=unlabelled, target_boxes=fewer, **known)
    picture = unlabelled.image_path(unlabelled.sequences[0].frames[0])
    picture.write_bytes(picture.read_bytes() + b"\0")
    with pytest.raises(UsageError, match=r"another training \(target_images differ\)"):
        train(CARD, None, data, target=unlabelled, target_boxes=boxes, **known)


def test_a_target_without_boxes_is_told_before_anything_is_read(data, unlabelled, detections, tmp_path) -> None:
    known = {"recipe": RECIPE, "steps": 1, "out": tmp_path / "none", "threads": 1}
    nowhere = replace(data, sequences=())  # a source that could not be read
    joints_only = [replace(item, truth=replace(item.truth, boxes=item.truth.boxes * np.nan)) for item in data.sequences]
    for target in (unlabelled, replace(data, sequences=tuple(joints_only))):
        with pytest.raises(DataError, match=f"{target.root}: .* has no boxes .* --target-boxes FILE"):
            train(CARD, None, nowhere, target=target, **known)
    none = boxes_from_file(detections, unlabelled, unlabelled=True, minimum_score=0.95)
    with pytest.raises(DataError, match=r"score >= 0.95\) has no box for any frame; lower --target-min-box-score"):
        train(CARD, None, nowhere, target=unlabelled, target_boxes=none, **known)
    with pytest.raises(UsageError, match="give both or neither"):
        train(CARD, None, nowhere, target_boxes=none, **{**known, "recipe": replace(RECIPE, adaptation=None)})
    assert not (tmp_path / "none").exists()


def test_what_does_not_belong_together_is_refused(data, tmp_path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        train(CARD, None, data, out=tmp_path, recipe=RECIPE, steps=1)
    with pytest.raises(UsageError, match="belong together"):
        train(CARD, None, data, out=tmp_path, recipe=replace(RECIPE, adaptation=None), steps=1, target=data)
    wrong = replace(RECIPE, loss="bin_cross_entropy")
    made = Trainer.make(methods["simcc"], None, data, wrong, 0, torch.device("cpu"))
    with pytest.raises(UsageError, match="take hrnet"):
        adapting(made, data)


def test_the_recipe_is_the_releases_but_for_its_horizon() -> None:
    assert open_recipe("regda").adaptation == Adaptation(horizon=200)


@pytest.mark.parametrize("trade_off", [0.0, 1.0])
def test_without_its_terms_the_other_look_teaches_no_parameter(data, trade_off: float) -> None:
    """What the recipe regda-norms says of itself: of the target statistics alone are left, which Small has not."""
    assert open_recipe("regda-norms") == replace(
        open_recipe("regda"), adaptation=replace(open_recipe("regda").adaptation, trade_off=0.0)
    )
    found = []
    for factor in (1, 2):
        recipe = replace(RECIPE, adaptation=replace(RECIPE.adaptation, trade_off=trade_off, horizon=1))
        torch.manual_seed(0)
        made = adapting(Trainer.make(CARD, None, data, recipe, 0, torch.device("cpu")), data)
        made.learn_mode()
        made.progress.steps = 10
        made.target = Darker(made.target, factor)
        for number in range(3):
            made.step(number, made.learned.batch(number))
        found.append(values(made.method.module))
    same = [torch.equal(found[0][name], found[1][name]) for name in found[0]]
    assert all(same) if trade_off == 0 else not any(same)


@dataclass
class Darker:
    """A target in less light."""

    stream: Any
    by: int

    def batch(self, number: int) -> Any:
        batch = self.stream.batch(number)
        return replace(batch, crops=batch.crops // self.by)


def test_the_target_is_named_on_the_command_line(harness, own_cache, tmp_path: Path) -> None:
    words = ["train", "--method", "hrnet", "--recipe", "regda", "--dataset", "synthtrack-smoke", "--steps", "1"]
    done = harness(*words, "--threads", "1", "--target", "synthtrack-smoke", "-o", str(tmp_path / "out"))
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["target"] == open_dataset("synthtrack-smoke", "train").fingerprint
    refused = harness(*words, "-o", str(tmp_path / "none"))
    assert refused.code == 2 and "--target" in refused.err
    unknown = harness(*words, "--target", "synthtrack-dawn", "-o", str(tmp_path / "none"))
    assert unknown.code == 2 and "synthtrack-dawn" in unknown.err


def test_unlabelled_frames_are_named_on_the_command_line(harness, own_cache, frames, detections, tmp_path) -> None:
    words = ["train", "--method", "hrnet", "--recipe", "regda", "--dataset", "synthtrack-smoke", "--steps", "1",
             "--threads", "1"]  # fmt: skip
    target = ["--target", "posetrack18", "--target-root", frames, "--target-split", "test"]
    done = harness(*words, *target, "--target-boxes", detections, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    found = open_dataset("posetrack18", "test", root=frames)
    assert record["target"] == found.fingerprint and record["target_split"] == "test"
    assert record["target_boxes"] == boxes_from_file(detections, found, unlabelled=True).sha256
    more = ("--target-boxes", detections, "--target-min-box-score", "0.05", "-o", tmp_path / "out")
    again = harness(*words, *target, *more)
    assert again.code == 2 and "target_boxes differ" in again.err


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        (("--target-boxes", "BOXES"), 2, "--target-boxes is about a target"),
        (("--target-split", "test"), 2, "--target-split is about a target"),
        (("--target", "synthtrack-smoke", "--target-min-box-score", "0.5"), 2, "give both"),
        (("--target", "posetrack18"), 3, "needs --target-root DIR"),
        (("--target", "posetrack18", "--target-root", "FRAMES", "--target-split", "tset"), 2, "has no split 'tset'"),
        (("--target", "posetrack18", "--target-root", "FRAMES", "--target-split", "test"), 3, "--target-boxes FILE"),
        (("--target", "synthtrack-smoke", "--target-boxes", "BOXES"), 3, "belongs to no frame of synthtrack-smoke"),
    ],
)
def test_a_wrong_target_is_told_in_a_line(harness, frames, detections, tmp_path, wrong, code: int, said: str) -> None:
    named = [{"BOXES": detections, "FRAMES": frames}.get(word, word) for word in wrong]
    words = ["train", "--method", "hrnet", "--recipe", "regda", "--dataset", "synthtrack-smoke", "--steps", "1"]
    answer = harness(*words, *named, "-o", tmp_path / "none")
    assert answer.code == code and said in answer.err and len(answer.err.strip().splitlines()) == 1, answer.err
    assert str(frames) in answer.err or "--target-boxes FILE" not in said
