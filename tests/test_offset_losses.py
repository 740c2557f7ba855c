"""The loss of discs and offsets against the original's number, and that a network of such maps learns by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import read_json

from harness.codecs import Targets, build_codec
from harness.methods import methods
from harness.training.losses import check_loss, loss_of, losses
from harness.training.offset_losses import offset_mse
from harness.weights import load
from harness.weights.sources import MMPOSE_0


def test_equals_the_original() -> None:
    golden = np.load(Path(__file__).parent / "data" / "losses.npz")
    pred, target, weight = (torch.from_numpy(golden[name]) for name in ("combined_pred", "combined_target", "weight"))
    values = dict(zip(read_json(golden, "loss_names"), golden["loss_values"], strict=True))
    expected = next(value for name, value in values.items() if "combined" in name.lower())
    weight = weight.view(len(weight), -1)[:, :5]
    assert offset_mse(pred, Targets(target, weight)).item() == pytest.approx(float(expected), rel=1e-6)


def test_offsets_count_inside_the_disc_only() -> None:
    preset = methods["hrnet"].presets["tiny-udp-offset"]
    targets = build_codec(preset).encode(torch.full((1, 17, 2), 40.0), torch.ones(1, 17))
    outside = targets.values + 0.0
    outside[:, 1::3] += 3 * (targets.values[:, ::3] == 0)
    assert offset_mse(outside, targets).item() == 0
    assert offset_mse(outside, Targets(targets.values, torch.zeros(1, 17))).item() == 0
    inside = targets.values + 0.0
    inside[:, 1::3] += 2 * targets.values[:, ::3]
    share = float(targets.values[:, ::3].mean())
    assert offset_mse(inside, targets).item() == pytest.approx(0.5 * 4 * share, rel=1e-5)


def test_a_network_of_offset_maps_learns_by_it() -> None:
    card = methods["hrnet"]
    preset = card.presets["tiny-udp-offset"]
    torch.manual_seed(0)
    module, codec = card.build(preset.options), build_codec(preset)
    check_loss("offset_mse", module, codec.form)
    assert losses["offset_mse"] is offset_mse
    joints = torch.rand(2, 17, 2) * torch.tensor([60.0, 90.0]) + 15
    targets, clips = codec.encode(joints, torch.ones(2, 17)), torch.randn(2, 1, 3, 128, 96)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    found = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = loss_of("offset_mse", module, clips, targets)
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert found[-1] < 0.8 * found[0]


def test_checkpoints_of_udp_pose_load_by_the_names_of_mmpose_0(tmp_path: Path) -> None:
    """A head of three maps a joint; its names begin as those of mmpose 0.x."""
    card = methods["hrnet"]
    module = card.build(card.presets["tiny-udp-offset"].options)
    assert module.final_layer.out_channels == 51
    state = {MMPOSE_0.theirs(key): value for key, value in module.state_dict().items()}
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "udp.pth")
    again = card.build(card.presets["tiny-udp-offset"].options)
    assert load(again, tmp_path / "udp.pth").source == "mmpose 0.x"
    assert torch.equal(again.final_layer.bias, module.final_layer.bias)
