"""Losses of bins, and others with released values: equal to those, refused for other outputs, good to learn with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.codecs import SimccCodec, SimccMapsCodec, Targets
from harness.errors import UsageError
from harness.training import losses
from harness.training.losses import check_loss

GOLDEN = np.load(Path(__file__).parent / "data" / "losses.npz")
VALUES = dict(zip(json.loads(str(GOLDEN["loss_names"])), GOLDEN["loss_values"].tolist(), strict=True))


def of_golden(smoothing: float | None) -> tuple[torch.Tensor, Targets]:
    """The golden's logits, and its Gaussian labels or the smoothed ones as the codec makes them."""
    outputs = torch.cat([torch.from_numpy(GOLDEN[f"simcc_{axis}"]) for axis in "xy"], -1)
    weights = torch.from_numpy(GOLDEN["weight"])[:, :, 0]
    if smoothing is None:
        labels = torch.cat([torch.from_numpy(GOLDEN[f"simcc_t{axis}"]) for axis in "xy"], -1)
        return outputs, Targets(labels, weights, (40, 56))
    codec = SimccCodec(size=(20, 28), style="simdr", smoothing=smoothing)
    made = codec.encode(torch.from_numpy(GOLDEN["simcc_label"]) / 2, torch.ones_like(weights))
    return outputs, Targets(made.values, weights, made.sections)


@pytest.mark.parametrize(
    ("name", "smoothing", "golden"),
    [
        ("simcc_kl", None, "simcc_KLDiscret"),
        ("simcc_kl_mmpose", None, "mmpose_KLDiscret"),
        ("simcc_kl_rtmpose", None, "mmpose_KLDiscret_beta10_labelsoftmax"),
        *[("simcc_nmt", share, f"simcc_NMT_ls{share}") for share in (0.1, 0.2, 0.4)],
        *[("simcc_kl", share, f"simcc_NMTNORM_ls{share}") for share in (0.1, 0.2, 0.4)],
    ],
)
def test_divergences_equal_the_released_ones(name, smoothing, golden):
    assert losses[name](*of_golden(smoothing)).item() == pytest.approx(VALUES[golden], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "prefix", "golden"),
    [
        ("hard_joints_mse", "", "JointsOHKM_top8_weighted"),
        ("offset_mse", "combined_", "udp_CombinedTargetMSE_weighted"),
    ],
)
def test_other_losses_of_maps_equal_the_released_ones(name, prefix, golden):
    outputs, wanted = (torch.from_numpy(GOLDEN[f"{prefix}{what}"]) for what in ("pred", "target"))
    weights = torch.from_numpy(GOLDEN["weight"])[:, : 5 if prefix else 17, 0]
    assert losses[name](outputs, Targets(wanted, weights)).item() == pytest.approx(VALUES[golden], rel=1e-6)


def test_cross_entropy_of_bins_by_hand():
    outputs = torch.log(torch.tensor([[[0.75, 0.25, 0.5, 0.25, 0.25], [0.1, 0.9, 0.2, 0.4, 0.4]]]))
    labels = torch.tensor([[[3.0, 1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    targets = Targets(labels, torch.tensor([[1.0, 0.0]]), (2, 3))
    assert losses["bin_cross_entropy"](outputs, targets).item() == pytest.approx(entropy + np.log(4), abs=1e-6)


@pytest.mark.parametrize("name", ["bin_cross_entropy", "simcc_kl", "simcc_nmt", "simcc_kl_mmpose", "simcc_kl_rtmpose"])
def test_falling_along_a_loss_finds_the_joint(name):
    codec = SimccCodec(size=(24, 32), sigma=2.0, score="min")
    joints = torch.tensor([[[5.0, 20.5], [17.5, 3.0], [0.0, 0.0]]])
    targets = codec.encode(joints, torch.tensor([[1.0, 1.0, 0.0]]))
    outputs = torch.zeros_like(targets.values, requires_grad=True)
    optimiser = torch.optim.Adam([outputs], lr=0.2)
    for _ in range(150):
        optimiser.zero_grad()
        losses[name](outputs, targets).backward()
        optimiser.step()
    assert codec.decode(outputs.detach()).joints[0, :2].tolist() == joints[0, :2].tolist()
    assert not outputs[0, 2].any()  # the unknown joint teaches nothing


def test_targets_say_where_the_axes_end():
    joints, weights = torch.full((2, 17, 2), 9.0), torch.ones(2, 17)
    assert SimccCodec(size=(24, 32), split=1.5).encode(joints, weights).sections == (36, 48)
    both = SimccMapsCodec(size=(24, 32), split=2.0).encode(joints, weights)
    assert both.sections == (48, 64, 6 * 8) and both.values.shape[-1] == sum(both.sections)


@pytest.mark.parametrize(
    ("name", "form", "line"),
    [
        (
            "spatial_cross_entropy",
            "vectors",
            "reads maps, and Identity gives vectors; take bin_cross_entropy or simcc_kl",
        ),
        ("joint_mse", "vectors and maps", "reads maps, and Identity gives vectors and maps; take a loss of the method"),
        (
            "simcc_kl",
            "maps",
            "reads vectors, and Identity gives maps; take .*hard_joints_mse or joint_mse or keypoint_mse or",
        ),
    ],
)
def test_a_loss_of_another_form_is_refused(name, form, line):
    with pytest.raises(UsageError, match=f"loss '{name}' {line}"):
        check_loss(name, torch.nn.Identity(), form)


def test_a_loss_of_no_form_takes_any():
    losses.add("of any form", lambda outputs, targets: outputs.sum())
    check_loss("of any form", torch.nn.Identity(), "coordinates")
