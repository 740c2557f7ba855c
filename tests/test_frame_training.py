"""Training of whole-frame methods from the command line, and what its weights find then."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines.layers.hrnet import TINY, HRNet
from harness.datasets import open_dataset
from harness.errors import DataError, UsageError, WeightsError
from harness.methods import methods
from harness.training.frame_trainer import FrameTrainer
from harness.training.recipes import open_recipe
from harness.training.start import start_from


@pytest.mark.parametrize("method", ["higher_hrnet", "dekr", "prtr", "prtr_end_to_end"])
def test_a_training_leaves_weights_that_run(method: str, harness, smoke_val: Path, tmp_path: Path) -> None:
    data = ("--dataset", "synthtrack-smoke", "--data-root", smoke_val, "--split", "val", "--device", "cpu")
    out = tmp_path / "trained"
    answer = harness("train", "--method", method, *data, "--steps", "2", "--batch-size", "2", "-o", out)
    assert answer.code == 0, answer.err
    weights = out / "last.safetensors"
    assert answer.out.strip() == str(weights) and (out / "record.json").is_file() and (out / "curves.png").is_file()
    asked = ("--method", method, "--weights", weights, "--limit", "1", "--results", tmp_path / "results")
    found = harness("eval", *data, *asked)
    assert found.code == 0, found.err
    assert "partial" in found.out + found.err


@pytest.mark.parametrize("method", ["higher_hrnet", "dekr"])
def test_it_starts_from_a_network_for_crops_without_its_head(method: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = HRNet(**TINY).state_dict()
    save_file(state, tmp_path / "hrnet.safetensors")
    card = methods[method]
    module = card.build(card.preset(None)[1].options)
    assert start_from(module, tmp_path / "hrnet.safetensors") == ""
    own, given = module.state_dict(), load_file(tmp_path / "hrnet.safetensors")
    assert all(torch.equal(own[name], value) for name, value in given.items() if not name.startswith("final_layer."))


@pytest.mark.parametrize("method", ["prtr", "prtr_end_to_end"])
def test_any_resnet_starts_prtr(method: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    given = methods["simple_baseline"].build(methods["simple_baseline"].presets["tiny"].options).state_dict()
    module = methods[method].build(methods[method].presets["tiny"].options)
    save_file(given, tmp_path / "resnet.safetensors")
    assert start_from(module, tmp_path / "resnet.safetensors") == "backbone."
    own = {name: value for name, value in module.state_dict().items() if name.startswith("backbone.")}
    assert len(own) > 80 and not any("layer4" in name for name in own)
    assert all(torch.equal(value, given[name.removeprefix("backbone.")]) for name, value in own.items())
    whole = {name: value + 1 for name, value in module.state_dict().items()}
    save_file(whole, tmp_path / "whole.safetensors")
    assert start_from(module, tmp_path / "whole.safetensors", prefix="") == ""
    assert all(torch.equal(value, whole[name]) for name, value in module.state_dict().items())
    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="1 tensors have no place"):
        start_from(module, tmp_path / "other.safetensors")


def test_short_trainings_are_looked_at_once() -> None:
    trainer = object.__new__(FrameTrainer)
    assert trainer.looked_at(20, 10) == {20}
    assert trainer.looked_at(450, 10) == {112, 225, 338, 450}
    assert len(trainer.looked_at(5000, 10)) == 10


def test_recipes_of_boxes_are_refused_and_few_joints_left_out(smoke_val: Path) -> None:
    dataset = open_dataset("synthtrack-smoke", "val", root=smoke_val)
    recipe = open_recipe("dekr-tiny")
    assert recipe.minimum_joints == 1
    for change in ("half_body", "proposals"):
        other = replace(recipe, augmentation=replace(recipe.augmentation, **{change: 0.3}))
        with pytest.raises(UsageError, match=change):
            FrameTrainer.make(methods["dekr"], None, dataset, other, 0, torch.device("cpu"))
    with pytest.raises(DataError, match="no frame shows anyone"):
        strict = replace(recipe, minimum_joints=16)
        FrameTrainer.make(methods["dekr"], None, dataset, strict, 0, torch.device("cpu"))
