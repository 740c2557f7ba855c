"""RegDA as a recipe: who learns from what, that it goes on where it stopped, and what it is not made for."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.datasets import open_dataset
from harness.errors import UsageError
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
