"""SimCC networks against the original: parameters, names and shapes, logits and intermediates, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import fill, golden_input, model_golden, read_json, statistics, watch

from baselines.simcc import card
from harness.codecs import build_codec
from harness.weights import load, parameter_count

#: Golden file -> preset and parameters of the table in simcc spec 1.4.
VARIANTS = {
    "simcc_hrnet_w32_256x192": ("w32-256x192", 31_289_521),
    "simcc_hrnet_w48_256x192": ("w48-256x192", 66_349_153),
    "simcc_hrnet_w48_384x288": ("w48-384x288-sa", 70_564_049),
    "simcc_res50_256x192": ("r50-256x192", 36_753_105),
    "simcc_res50_384x288": ("r50-384x288", 43_290_769),
    "simcc_res50_upfree_256x192": ("r50-upfree-256x192", 25_688_476),
}
#: The larger networks are filled and run by `make test-long` only.
QUICK = ("simcc_res50_upfree_256x192",)
RUN = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in VARIANTS]


@pytest.mark.parametrize("name", VARIANTS)
def test_names_and_shapes_are_those_of_the_original(name: str) -> None:
    preset, count = VARIANTS[name]
    with torch.device("meta"):
        module = card.build(card.presets[preset].options)
    assert [[key, list(value.shape)] for key, value in module.state_dict().items()] == read_json(
        model_golden(name), "keys_shapes"
    )
    assert parameter_count(module) == count


@pytest.mark.parametrize("name", RUN)
def test_logits_equal_the_original(name: str) -> None:
    data = model_golden(name)
    preset = card.presets[VARIANTS[name][0]]
    module = fill(card.build(preset.options))
    spec = read_json(data, "spec")
    clip = golden_input(*spec["input"]["shape"])[:, None]
    with torch.inference_mode():
        mirrored = module(clip.flip(-1))
        seen = watch(module, spec["intermediate_names"])
        output = module(clip)
    for place, intermediate in enumerate(spec["intermediate_names"]):
        expected = data["intermediate_stats"][place]
        np.testing.assert_allclose(
            statistics(seen[intermediate])[1:], expected[1:], rtol=1e-4, atol=1e-4 * expected[2], err_msg=intermediate
        )
    first = build_codec(preset).bins[0]
    for axis, ours, turned in (
        ("pred_x", output[..., :first], mirrored[..., :first]),
        ("pred_y", output[..., first:], mirrored[..., first:]),
    ):
        np.testing.assert_allclose(ours[0].numpy(), data[axis], rtol=0, atol=1e-4 * data[f"{axis}_stats"][2])
        flipped = data[f"{axis}_flipped_input_stats"]
        np.testing.assert_allclose(statistics(turned)[1:], flipped[1:], rtol=1e-4, atol=1e-4 * flipped[2])


def test_logits_are_the_linear_layers_on_the_heatmaps_row_by_row() -> None:
    """The HRNet variant in small: what the quick run has of the large ones."""
    module = fill(card.build(card.presets["tiny"].options))
    clip = golden_input(1, 1, 3, 128, 96)
    seen = watch(module, ["final_layer"])
    with torch.no_grad():
        output = module(clip)
    vectors = seen["final_layer"][0].reshape(17, 32 * 24)
    weights = torch.cat((module.mlp_head_x.weight, module.mlp_head_y.weight))
    bias = torch.cat((module.mlp_head_x.bias, module.mlp_head_y.bias))
    expected = (vectors @ weights.T + bias).detach()
    torch.testing.assert_close(output[0], expected, rtol=1e-4, atol=1e-4 * float(output.std()))


def in_mmpose(key: str, *, deconvolutions: bool) -> str:
    if key.startswith("mlp_head"):
        return f"head.{key}"
    if key.startswith(("deconv_layers.", "final_layer.")):
        return f"head.deconv_head.{key}" if deconvolutions else f"head.{key}"
    return f"backbone.{key}"


@pytest.mark.parametrize("name", ["mmpose-r50-256x192", "r50-upfree-256x192"])
def test_mmpose_names_translate_both_ways(name: str) -> None:
    with torch.device("meta"):
        module = card.build(card.presets[name].options)
    key_map = module.key_sources[0]
    for key in module.state_dict():
        theirs = in_mmpose(key, deconvolutions="upfree" not in name)
        assert (key_map.theirs(key), key_map.ours(theirs)) == (theirs, key)


def test_mmpose_checkpoints_load(tmp_path: Path) -> None:
    options = {"network": "upfree", "depth": 18, "size": (32, 64), "per_joint": 2, "joints": 3}
    filled = fill(card.build(options))
    theirs = {in_mmpose(key, deconvolutions=False): value for key, value in filled.state_dict().items()}
    torch.save({"state_dict": theirs, "meta": {}}, tmp_path / "net.pth")
    module = card.build(options)
    assert load(module, tmp_path / "net.pth").source == "mmpose 1.x"
    assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())


def test_codec_and_network_of_a_preset_agree_on_the_bins() -> None:
    for preset in card.presets.values():
        with torch.device("meta"):
            module = card.build(preset.options)
        assert build_codec(preset).bins == (module.mlp_head_x.out_features, module.mlp_head_y.out_features)


def test_tiny_is_small() -> None:
    assert parameter_count(card.build(card.presets["tiny"].options)) <= 2_000_000
