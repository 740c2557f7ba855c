"""FAMI-Pose with SimCC heads: sizes, flattening, the three modes, both scores, and the losses by hand and golden."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.fami_simcc import FamiSimcc, card, simcc_loss
from baselines.layers.fami import PAPER, TINY, FamiNetwork
from baselines.layers.mutual_information import information_loss
from harness.codecs import HeatmapCodec, SimccCodec, SimccMapsCodec, build_codec, read_as
from harness.errors import UsageError
from harness.skeletons import POSETRACK17
from harness.training.bin_losses import bin_divergence
from harness.training.losses import joint_mse, loss_of
from harness.weights import parameter_count

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(("split", "bins", "count"), [(1.5, (432, 576), 71_623_508), (2.0, (576, 768), 73_946_276)])
def test_parameters_are_those_of_the_spec(split: float, bins: tuple[int, int], count: int) -> None:
    with torch.device("meta"):
        network, without = FamiSimcc(**PAPER, split=split), FamiNetwork(**PAPER)
    assert (network.mlp_head_x.out_features, network.mlp_head_y.out_features) == bins
    assert network.mlp_head_x.in_features == 6912
    assert parameter_count(network) == count
    assert count - 64_655_204 == 6912 * sum(bins) + sum(bins)
    added = {network.key_sources[0].theirs(key) for key in network.state_dict().keys() - without.state_dict().keys()}
    assert added == {f"mlp_head_{axis}.{part}" for axis in "xy" for part in ("weight", "bias")}


@pytest.fixture(scope="module")
def tiny() -> FamiSimcc:
    torch.manual_seed(0)
    return FamiSimcc(**TINY, split=2.0).eval()


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randn((2, 5, 3, 128, 96), generator=torch.Generator().manual_seed(3))


def test_heads_read_the_heatmaps_row_by_row(tiny, clips) -> None:
    with torch.inference_mode():
        outputs, states = tiny(clips), tiny(clips, states=True)
        below = FamiNetwork.forward(tiny, clips)
    assert outputs.shape == (2, 17, 192 + 256 + 32 * 24)
    bins, maps = build_codec(card.presets["tiny"]).parts(outputs)
    assert torch.equal(maps, below) and torch.equal(below, states.network.heatmaps)
    assert torch.equal(bins, torch.cat((states.along_x, states.along_y), dim=-1))
    joint = below[1, 5].numpy().astype(np.float64)
    weight, bias = tiny.mlp_head_y.weight[9].detach().numpy(), tiny.mlp_head_y.bias[9].item()
    by_hand = bias + sum(weight[row * 24 + column] * joint[row, column] for row in range(32) for column in range(24))
    assert states.along_y[1, 5, 9].item() == pytest.approx(by_hand, rel=1e-3, abs=1e-6)


def written(codec: SimccMapsCodec, at_bins: tuple[float, float], at_map: tuple[float, float]) -> torch.Tensor:
    """Outputs of one joint whose bins say one place and whose map says another, in input px."""
    bins = codec.vectors.encode(torch.tensor([[at_bins]]), torch.ones(1, 1)).values
    maps = codec.maps.encode(torch.tensor([[at_map]]), torch.ones(1, 1)).values
    return torch.cat((60 * bins, 0.8 * maps.flatten(2)), dim=-1)


def test_three_readings_of_the_same_outputs() -> None:
    preset = replace(card.presets["tiny"], codec_options={"split": 2.0, "sigma": 4.0, "map_sigma": 1.5})
    codec = build_codec(preset)
    outputs = written(codec, (40.5, 64.0), (44.0, 64.0))
    from_bins = codec.decode(outputs)
    probabilities = [
        axis.softmax(-1).max().item() for axis in codec.parts(outputs)[0].split(list(codec.vectors.bins), -1)
    ]
    assert from_bins.joints.tolist() == [[[40.5, 64.0]]] and from_bins.grid == (96, 128)
    assert from_bins.scores.item() == pytest.approx(min(probabilities))
    scored = build_codec(read_as(preset, "simcc_maps_score")).decode(outputs)
    assert torch.equal(scored.joints, from_bins.joints)
    # cell 40.5 / 4 = 10.125 of a Gaussian of sigma 1.5 cells around cell 11, between cells 10 and 11
    left = np.exp(-1 / (2 * 1.5**2))
    assert scored.scores.item() == pytest.approx(0.8 * (0.875 * left + 0.125), rel=1e-4)
    peak = build_codec(read_as(preset, "simcc_maps_peak")).decode(outputs)
    assert peak.joints.tolist() == [[[11.0, 16.0]]] and peak.grid == (24, 32)
    assert peak.scores.item() == pytest.approx(0.8)


def test_presets_differ_by_mode_and_split_only() -> None:
    paper, aux = card.presets["paper"], card.presets["paper-heatmap-aux"]
    assert replace(aux, codec=paper.codec) == paper and aux.codec == "simcc_maps_peak"
    for name, split in (("paper-k1", 1.0), ("paper", 1.5), ("paper-k2", 2.0), ("paper-k3", 3.0), ("tiny-k1", 1.0)):
        preset = card.presets[name]
        assert preset.options["split"] == preset.codec_options["split"] == split
    assert build_codec(paper).vectors.bins == (432, 576) and build_codec(paper).maps.grid == (72, 96)
    with pytest.raises(UsageError, match="simcc_maps_peak"):
        read_as(paper, "heatmap")


def test_each_part_is_written_and_flipped_by_its_own_rule() -> None:
    codec = SimccMapsCodec(size=(48, 64), split=2.0, sigma=4.0, map_sigma=1.5)
    vectors, maps = SimccCodec(size=(48, 64), split=2.0, sigma=4.0), HeatmapCodec(size=(48, 64), sigma=1.5)
    generator = torch.Generator().manual_seed(5)
    joints = torch.rand((2, 17, 2), generator=generator) * torch.tensor([60.0, 80.0]) - 6
    weights = (torch.rand((2, 17), generator=generator) > 0.2).float()
    targets = codec.encode(joints, weights)
    bins_of, maps_of = vectors.encode(joints, weights), maps.encode(joints, weights)
    found = codec.parts(targets.values)
    assert torch.equal(found[0], bins_of.values) and torch.equal(found[1], maps_of.values)
    assert torch.equal(targets.weights, bins_of.weights * maps_of.weights)
    order = torch.from_numpy(POSETRACK17.flip_order)
    other = codec.encode(joints.flip(0), weights).values
    merged = codec.parts(codec.merge(targets.values, other, order))
    other_bins, other_maps = codec.parts(other)
    assert torch.equal(merged[0], vectors.merge(bins_of.values, other_bins, order))
    assert torch.equal(merged[1], maps.merge(maps_of.values, other_maps, order))
    back = codec.parts(codec.flip_back(targets.values, order))
    assert torch.equal(back[0], vectors.flip_back(bins_of.values, order))
    assert torch.equal(back[1], maps.flip_back(maps_of.values, order))


def test_divergence_of_bins_equals_upstream() -> None:
    golden = np.load(DATA / "losses.npz")
    expected = golden["loss_values"][json.loads(str(golden["loss_names"])).index("simcc_KLDiscret")]
    weights = torch.from_numpy(golden["weight"])[:, :, 0]
    total = sum(
        bin_divergence(torch.from_numpy(golden[f"simcc_{axis}"]), torch.from_numpy(golden[f"simcc_t{axis}"]), weights)
        for axis in "xy"
    )
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_modes_add_up(tiny, clips) -> None:
    preset = card.presets["tiny"]
    generator = torch.Generator().manual_seed(6)
    joints = torch.rand((2, 17, 2), generator=generator) * torch.tensor([96.0, 128.0])
    targets = build_codec(preset).encode(joints, torch.ones(2, 17))
    states = tiny(clips, states=True)
    labels, maps = build_codec(preset).parts(targets.values)
    bins = bin_divergence(states.along_x, labels[..., :192], targets.weights) + bin_divergence(
        states.along_y, labels[..., 192:], targets.weights
    )
    mse = 2 * joint_mse(states.network.heatmaps, replace(targets, values=maps))
    information = {name: information_loss(states.network.evidence, estimator=name) for name in ("released", "kl")}
    found = {
        name: loss_of(f"fami_simcc_{name}", tiny, clips, targets).item()
        for name in ("replace_off", "replace_kl", "residual_off", "residual_released", "cross_entropy_off")
    }
    assert found["replace_off"] == pytest.approx(bins.item(), rel=1e-5)
    assert found["residual_off"] == pytest.approx((bins + mse).item(), rel=1e-5)
    assert found["residual_released"] == pytest.approx((bins + mse + information["released"]).item(), rel=1e-5)
    assert found["replace_kl"] == pytest.approx((bins + information["kl"]).item(), rel=1e-5)
    assert found["cross_entropy_off"] > 1 + found["replace_off"]


def test_every_mode_trains_heads_and_trunk(clips) -> None:
    torch.manual_seed(0)
    network = FamiSimcc(**TINY, split=1.0)
    targets = build_codec(card.presets["tiny-k1"]).encode(torch.full((2, 17, 2), 50.0), torch.ones(2, 17))
    for term, estimator in ((None, None), (joint_mse, "released"), (joint_mse, "kl")):
        network.zero_grad()
        simcc_loss(network(clips, states=True), targets, heatmap_term=term, estimator=estimator).backward()
        for part in (network.mlp_head_x, network.mlp_head_y, network.head, network.local, network.motion.linear):
            assert all(parameter.grad.isfinite().all() for parameter in part.parameters())
            assert any(parameter.grad.any() for parameter in part.parameters())
