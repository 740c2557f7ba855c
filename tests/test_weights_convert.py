"""Converting checkpoints between names: there and back without a bit changed, through the command line too."""

from pathlib import Path

import pytest
import torch
from golden_fill import fill

from harness.errors import UsageError, WeightsError
from harness.methods import methods
from harness.weights import convert, load, save


def network(method: str):
    card = methods[method]
    return card.build(card.presets["tiny"].options)


@pytest.mark.parametrize(
    ("method", "target", "first_key", "wrapped"),
    [
        ("hrnet", "mmpose", "backbone.conv1.weight", True),
        ("hrnet", "mmpose 0", "backbone.conv1.weight", True),
        ("hrnet", "official", "conv1.weight", False),
        ("simple_baseline", "mmpose 1.x", "backbone.conv1.weight", True),
        ("dcpose", "dcpose", "rough_pose_estimation_net.conv1.weight", True),
    ],
)
def test_there_and_back(tmp_path: Path, method: str, target: str, first_key: str, wrapped: bool) -> None:
    filled = fill(network(method))
    save(filled, tmp_path / "ours.safetensors")
    convert(network(method), tmp_path / "ours.safetensors", tmp_path / "theirs.pth", to=target)
    content = torch.load(tmp_path / "theirs.pth", weights_only=True)
    theirs = content["state_dict"] if wrapped else content
    assert next(iter(theirs)) == first_key
    loaded = convert(network(method), tmp_path / "theirs.pth", tmp_path / "again.safetensors")
    assert loaded.source.lower().startswith(target)
    module = network(method)
    assert load(module, tmp_path / "again.safetensors").source == "vidpose-harness"
    assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


def test_names_that_a_network_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no names of 'tensorflow'.*ours, 'DCPose release'"):
        convert(network("dcpose"), tmp_path / "any.pth", tmp_path / "out.pth", to="tensorflow")


def test_a_release_that_lacks_a_few_tensors_is_recognised_and_they_are_named(tmp_path: Path) -> None:
    module = network("dcpose")
    names = module.key_sources[0]
    state = {names.theirs(key): value for key, value in module.state_dict().items()}
    gone = [key for key in state if key.startswith("diff_temporal_fuse.layers.1.conv_bn_relu3.conv.")]
    torch.save({key: value for key, value in state.items() if key not in gone}, tmp_path / "partial.pth")
    theirs, ours = r"diff_temporal_fuse\.layers\.1\.conv_bn_relu3\.conv\.weight", r"fusion\.motion\.1\.merge"
    with pytest.raises(WeightsError, match=rf"2 missing: {theirs} \(here {ours}"):
        load(network("dcpose"), tmp_path / "partial.pth")


def test_command_line(harness, tmp_path: Path) -> None:
    save(fill(network("hrnet")), tmp_path / "ours.safetensors")
    answer = harness(
        "weights", "convert", tmp_path / "ours.safetensors", "--method", "hrnet", "--to", "mmpose",
        "-o", tmp_path / "theirs.pth",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.out.strip() == str(tmp_path / "theirs.pth")
    assert "every tensor" in answer.err
    refused = harness(
        "weights", "convert", tmp_path / "theirs.pth", "--method", "hrnet", "--preset", "w32-256x192",
        "-o", tmp_path / "no.safetensors",
    )  # fmt: skip
    assert refused.code == 4
    assert "does not fit" in refused.err
    assert not (tmp_path / "no.safetensors").exists()
