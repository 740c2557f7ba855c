"""Parameters and operations of the methods against the tables of their papers, and where `methods show` tells them."""

import json
from dataclasses import replace

import pytest
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


#: Parameters as the specifications count them on the originals, and operations in units of 2^30 (None: not published).
TABLE = [
    ("hrnet", "w32-256x192", 28_536_113, 7.1),
    ("hrnet", "w32-384x288", 28_536_113, 16.0),
    ("hrnet", "w48-256x192", 63_595_745, 14.6),
    ("hrnet", "w48-384x288", 63_595_745, 32.9),
    ("simple_baseline", "r50-256x192", 33_999_697, None),
    ("simple_baseline", "r152-256x192", 68_635_473, None),
    ("simple_baseline", "r152-384x288", 68_635_473, None),
    ("simcc", "w32-256x192", 31_289_521, None),
    ("simcc", "w48-256x192", 66_349_153, 14.6),
    ("simcc", "w48-384x288-sa", 70_564_049, 32.9),
    ("simcc", "r50-256x192", 36_753_105, None),
    ("simcc", "r50-384x288", 43_290_769, None),
    ("simcc", "r50-upfree-256x192", 25_688_476, None),
    ("vitpose", "b-256x192", 89_994_513, None),
    ("vitpose", "l-256x192", 308_544_785, None),
    ("dcpose", "paper", 65_198_798, None),
    ("fami", "paper", 64_655_204, 183.9e9 / 2**30),
    ("fami_simcc", "paper", 71_623_508, None),
    ("fami_simcc", "paper-k2", 73_946_276, None),
    ("dual_stream", "paper", 150_112_563, None),
]
#: What tables say of networks with deconvolutions (stride 2), which they count as if every output cell met the whole
#: kernel: four times the products that are made. In units of 2^30.
DECONVOLVED = [
    ("simple_baseline", "r50-256x192", 8.9), ("simple_baseline", "r50-384x288", 20.0),
    ("simple_baseline", "r152-256x192", 15.7), ("simple_baseline", "r152-384x288", 35.3),
    ("simcc", "r50-256x192", 9.0), ("simcc", "r50-384x288-sa", 20.2),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("name", "preset", "parameters", "operations"), TABLE)
def test_every_method_is_as_large_as_its_original(name, preset, parameters, operations) -> None:
    found, counted = size(name, preset)
    assert found == parameters
    if operations is not None:
        assert counted / 2**30 == pytest.approx(operations, abs=0.06)


@pytest.mark.long
@pytest.mark.parametrize(("name", "preset", "published"), DECONVOLVED)
def test_tables_count_deconvolutions_four_times(name: str, preset: str, published: float) -> None:
    width, height = methods[name].presets[preset].crop.size
    inputs = [(2048, 32), (256, 16), (256, 8)]  # channels of each deconvolution, and its input's stride
    made = sum(channels * 256 * 16 * (width // stride) * (height // stride) for channels, stride in inputs)
    assert (size(name, preset)[1] + 3 * made) / 2**30 == pytest.approx(published, rel=0.02)


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
