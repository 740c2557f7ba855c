"""Parameters and operations of the methods against the tables of their papers, and where `methods show` tells them."""

import json
from dataclasses import replace

import torch
from torch import nn

from baselines.layers.deformable import DeformableConvolution
from harness.inference.flops import multiply_adds, sizes
from harness.methods import methods

#: Millions of parameters, and operations in units of 2^30, as the paper of HRNet has them.
HRNET = {
    "w32-256x192": (28.5, 7.1), "w32-384x288": (28.5, 16.0), "w48-256x192": (63.6, 14.6), "w48-384x288": (63.6, 32.9),
}  # fmt: skip


def size(name: str, preset: str) -> tuple[int, int]:
    card = methods[name]
    return sizes(replace(card, presets={preset: card.presets[preset]}))[preset]


def test_hrnet_is_as_large_as_its_paper_says() -> None:
    found = sizes(methods["hrnet"])
    for preset, (millions, operations) in HRNET.items():
        parameters, counted = found[preset]
        assert (round(parameters / 1e6, 1), round(counted / 2**30, 1)) == (millions, operations), preset


def test_video_methods_pay_for_every_frame() -> None:
    frame = size("hrnet", "w48-384x288")[1]
    totals = {name: size(name, "paper") for name in ("fami", "dcpose", "hmta")}
    assert round(frame / 1e9, 1) == 35.3
    assert round(totals["fami"][1] / 1e9, 1) == 183.9
    assert (totals["fami"][0], totals["dcpose"][0]) == (64_655_204, 65_198_798)
    for name, (_, operations) in totals.items():
        frames = len(methods[name].presets["paper"].support)
        assert frames * frame * 0.999 < operations < (frames + 1) * frame, name


def test_deformable_convolutions_count() -> None:
    with torch.device("meta"):
        layer, maps = DeformableConvolution(6, 4), torch.zeros(2, 6, 5, 7)

        class Network(nn.Module):
            def forward(self, clips: torch.Tensor) -> torch.Tensor:
                return layer(clips, clips.new_zeros(2, 18, 5, 7))

        assert multiply_adds(Network(), maps) == 2 * 5 * 7 * 9 * 6 * 4


def test_methods_show_tells_them(harness) -> None:
    shown = harness("methods", "show", "simple_baseline")
    assert "34.00 M" in shown.out
    assert "5.43 G" in shown.out
    presets = json.loads(harness("methods", "show", "simple_baseline", "--format", "json").out)["presets"]
    assert round(presets["r50-256x192"]["parameters"] / 1e6, 1) == 34.0
    assert round(presets["r50-256x192"]["multiply_adds"] / 1e9, 2) == 5.43
    assert harness("methods", "show", "mean_pose").code == 0
