"""SimpleBaseline against the original: parameters, names and shapes, outputs and intermediates, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import fill, golden_input, model_golden, read_json, statistics, watch

from baselines.simple_baseline import SimpleBaseline, card
from harness.weights import load, parameter_count

VARIANTS = {
    "simplebaseline_res50_256x192_15": (50, 15, 33_999_183),
    "simplebaseline_res50_256x192": (50, 17, 33_999_697),
    "simplebaseline_res152_384x288": (152, 17, 68_635_473),
}
#: Parameters and state keys with 17 joints, of depths without a golden file.
COUNTS = {18: (15_376_721, 140), 34: (25_484_881, 236), 101: (52_991_825, 644)}
#: The larger networks are filled and run by `make test-long` only.
QUICK = ("simplebaseline_res50_256x192_15",)
RUN = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in VARIANTS]


@pytest.mark.parametrize("name", VARIANTS)
def test_names_and_shapes_are_those_of_the_original(name: str) -> None:
    depth, joints, count = VARIANTS[name]
    with torch.device("meta"):
        module = SimpleBaseline(depth, joints=joints)
    assert [[key, list(value.shape)] for key, value in module.state_dict().items()] == read_json(
        model_golden(name), "keys_shapes"
    )
    assert parameter_count(module) == count


@pytest.mark.parametrize("depth", COUNTS)
def test_sizes_of_the_other_depths(depth: int) -> None:
    with torch.device("meta"):
        module = SimpleBaseline(depth)
    assert (parameter_count(module), len(module.state_dict())) == COUNTS[depth]


@pytest.mark.parametrize("name", RUN)
def test_outputs_equal_the_original(name: str) -> None:
    data = model_golden(name)
    depth, joints, _ = VARIANTS[name]
    module = fill(SimpleBaseline(depth, joints=joints))
    spec = read_json(data, "spec")
    clip = golden_input(*spec["input"]["shape"])[:, None]
    with torch.inference_mode():
        mirrored = module(clip.flip(-1))
        seen = watch(module, spec["intermediate_names"])
        output = module(clip)
    for place, name_ in enumerate(spec["intermediate_names"]):
        expected = data["intermediate_stats"][place]
        np.testing.assert_allclose(
            statistics(seen[name_])[1:], expected[1:], rtol=1e-4, atol=1e-4 * expected[2], err_msg=name_
        )
    shown = output[0, :, ::3, ::3] if spec["output_subsample"] else output[0]
    np.testing.assert_allclose(shown.numpy(), data["output"], rtol=0, atol=1e-4 * data["output_stats"][2])
    flipped = data["output_flipped_input_stats"]
    np.testing.assert_allclose(statistics(mirrored)[1:], flipped[1:], rtol=1e-4, atol=1e-4 * flipped[2])


@pytest.mark.parametrize(("head", "source"), [("head", "mmpose 1.x"), ("keypoint_head", "mmpose 0.x")])
def test_mmpose_checkpoints_load(tmp_path: Path, head: str, source: str) -> None:
    filled = fill(card.build(card.presets["tiny"].options))
    theirs = {
        (f"{head}." if key.startswith(("deconv_layers.", "final_layer.")) else "backbone.") + key: value
        for key, value in filled.state_dict().items()
    }
    torch.save({"state_dict": theirs, "meta": {}}, tmp_path / "net.pth")
    module = card.build(card.presets["tiny"].options)
    assert load(module, tmp_path / "net.pth").source == source
    assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())
    key_map = next(key_map for key_map in module.key_sources if key_map.source == source)
    assert {key_map.theirs(key) for key in module.state_dict()} == set(theirs)


def test_official_presets_are_fed_bgr_and_mmpose_ones_rgb() -> None:
    colours = {name: preset.crop.colour for name, preset in card.presets.items()}
    assert colours["r50-256x192"] == colours["r152-384x288"] == "bgr"
    assert colours["mmpose-r50-256x192"] == colours["tiny"] == "rgb"
    assert card.presets["r50-256x192"].crop.mean == (0.485, 0.456, 0.406), "by position, so blue gets red's"


def test_tiny_is_small() -> None:
    assert parameter_count(card.build(card.presets["tiny"].options)) <= 2_000_000
