"""Parameters and operations of the methods against the tables of their papers, and where `methods show` tells them."""

import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from baselines.layers.deformable import DeformableConvolution
from harness.inference.flops import multiply_adds, sizes
from harness.methods import methods
from harness.weights import parameter_count


@cache
def size(name: str, preset: str) -> tuple[int, int]:
    card = methods[name]
    return sizes(replace(card, presets={preset: card.presets[preset]}))[preset]


#: Parameters as the specifications count them on the originals, and operations in units of 2^30 as the papers' tables
#: have them (None: not published): hrnet.md 2 and 6, simcc.md, dual_stream.md, dcpose.md, fami.md, fami_simcc.md.
TABLE = [
    ("hrnet", "w32-256x192", 28_536_113, 7.1),
    ("hrnet", "w32-384x288", 28_536_113, 16.0),
    ("hrnet", "w48-256x192", 63_595_745, 14.6),
    ("hrnet", "w48-384x288", 63_595_745, 32.9),
    ("simple_baseline", "r50-256x192", 33_999_697, None),
    ("simple_baseline", "r152-256x192", 68_635_473, None),
    ("simple_baseline", "r152-384x288", 68_635_473, None),
    ("simcc", "w32-256x192", 31_289_521, 7.1),
    ("simcc", "w48-256x192", 66_349_153, 14.6),
    ("simcc", "w48-384x288-sa", 70_564_049, 32.9),
    ("simcc", "r50-256x192", 36_753_105, None),
    ("simcc", "r50-384x288", 43_290_769, None),
    ("simcc", "r50-upfree-256x192", 25_688_476, None),
    ("vitpose", "b-256x192", 89_994_513, None),
    ("vitpose", "l-256x192", 308_544_785, None),
    ("dcpose", "paper", 65_198_798, None),
    ("fami", "paper", 64_655_204, None),
    ("fami_simcc", "paper", 71_623_508, None),
    ("fami_simcc", "paper-k2", 73_946_276, None),
    ("dual_stream", "paper", 150_112_563, None),
]
#: Those that a loaded machine counts in a second or two.
QUICK = ("r50-", "b-256x192")
#: What tables say of networks with deconvolutions (stride 2), which they count as if every output cell met the whole
#: kernel: four times the products that are made. In units of 2^30.
DECONVOLVED = [
    ("simple_baseline", "r50-256x192", 8.9), ("simple_baseline", "r50-384x288", 20.0),
    ("simple_baseline", "r152-256x192", 15.7), ("simple_baseline", "r152-384x288", 35.3),
    ("simcc", "r50-256x192", 9.0), ("simcc", "r50-384x288-sa", 20.2),
]  # fmt: skip
#: Whole frames (whole_frame.md 2.10, 3.1 and 3.5), in 10^9 of a square input: preset, side px, parameters, published
#: operations, and channels into and out of HigherHRNet's deconvolution, again counted four times.
WHOLE = [
    ("higher_hrnet", "w32-512", 512, 28_645_331, 47.9, (66, 32)),
    ("higher_hrnet", "w32-640", 640, 28_645_331, 74.8, (66, 32)),
    ("higher_hrnet", "w48-640", 640, 63_827_139, 154.3, (82, 48)),
    ("dekr", "w32-512", 512, 29_561_182, 45.4, (0, 0)),
    ("dekr", "w48-640", 640, 65_684_590, 141.5, (0, 0)),
]


def row(*values: object) -> object:
    """A case of a table, long unless its network is small."""
    return pytest.param(*values, marks=() if str(values[1]).startswith(QUICK) else pytest.mark.long)


@pytest.mark.parametrize(("name", "preset", "parameters", "operations"), [row(*values) for values in TABLE])
def test_every_method_is_as_large_as_its_original(name, preset, parameters, operations) -> None:
    found, counted = size(name, preset)
    assert found == parameters
    if operations is not None:  # SimCC's tables count its linear layers once, not once for each joint: 0.1 at most
        assert counted / 2**30 == pytest.approx(operations, abs=0.05 if name == "hrnet" else 0.1)


@pytest.mark.parametrize(("name", "preset", "published"), [row(*values) for values in DECONVOLVED])
def test_tables_count_deconvolutions_four_times(name: str, preset: str, published: float) -> None:
    width, height = methods[name].presets[preset].crop.size
    inputs = [(2048, 32), (256, 16), (256, 8)]  # channels of each deconvolution, and its input's stride
    made = sum(channels * 256 * 16 * (width // stride) * (height // stride) for channels, stride in inputs)
    assert (size(name, preset)[1] + 3 * made) / 2**30 == pytest.approx(published, rel=0.02)


@pytest.mark.long
@pytest.mark.parametrize(("name", "preset", "side", "parameters", "published", "deconvolved"), WHOLE)
def test_whole_frames_are_as_costly_as_published(name, preset, side, parameters, published, deconvolved) -> None:
    with torch.device("meta"):
        module = methods[name].build(methods[name].presets[preset].options).eval()
        counted = multiply_adds(module, torch.zeros(1, 1, 3, side, side))
    made = deconvolved[0] * deconvolved[1] * 16 * (side // 4) ** 2
    assert parameter_count(module) == parameters
    assert (counted + 3 * made) / 1e9 == pytest.approx(published, abs=0.06)


@pytest.mark.long
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
    presets = json.loads(harness("methods", "show", "simple_baseline", "--format", "json").out)["presets"]
    assert round(presets["r50-256x192"]["parameters"] / 1e6, 1) == 34.0
    assert round(presets["r50-256x192"]["multiply_adds"] / 1e9, 2) == 5.43
    parameters, operations = size("copy_previous", "tiny")
    shown = harness("methods", "show", "copy_previous").out
    assert f"{parameters / 1e6:.2f} M" in shown
    assert f"{operations / 1e9:.3g} G" in shown
    assert harness("methods", "show", "mean_pose").code == 0
