"""HRNet against the original: parameters, names and shapes, outputs and intermediates."""

import numpy as np
import pytest
import torch
from golden_fill import fill, filled_tensor, golden_input, model_golden, read_json, statistics, watch

from baselines.hrnet import card
from baselines.layers.hrnet import TINY, HRNetPose
from harness.weights import parameter_count

VARIANTS = {
    "hrnet_w32_256x192_15": (32, 15, 28_536_047),
    "hrnet_w32_256x192": (32, 17, 28_536_113),
    "hrnet_w48_256x192": (48, 17, 63_595_745),
    "hrnet_w48_384x288": (48, 17, 63_595_745),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_names_and_shapes_are_those_of_the_original(name: str) -> None:
    width, joints, count = VARIANTS[name]
    with torch.device("meta"):
        module = HRNetPose(width, joints=joints)
    ours = [[key, list(value.shape)] for key, value in module.state_dict().items()]
    assert ours == read_json(model_golden(name), "keys_shapes")
    assert len(ours) == 1754
    assert parameter_count(module) == count


def test_fill_rule_draws_the_golden_values() -> None:
    data = model_golden("hrnet_w32_256x192_15")
    shapes = dict(map(tuple, read_json(data, "keys_shapes")))
    for key, values in zip(read_json(data, "probe_keys"), data["probe_first4"], strict=True):
        drawn = filled_tensor(key, tuple(shapes[key])).flatten()[:4].double().numpy()
        np.testing.assert_allclose(drawn, values, rtol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_outputs_equal_the_original(name: str) -> None:
    data = model_golden(name)
    width, joints, _ = VARIANTS[name]
    module = fill(HRNetPose(width, joints=joints))
    names = read_json(data, "spec")["intermediate_names"]
    clip = golden_input(*read_json(data, "spec")["input"]["shape"])[:, None]
    with torch.inference_mode():
        mirrored = module(clip.flip(-1))
        seen = watch(module, names)
        output = module(clip)
    for place, intermediate in enumerate(names):
        expected = data["intermediate_stats"][place]
        np.testing.assert_allclose(
            statistics(seen[intermediate])[1:], expected[1:], rtol=1e-4, atol=1e-4 * expected[2], err_msg=intermediate
        )
    shown = output[0, :, ::3, ::3] if read_json(data, "spec")["output_subsample"] else output[0]
    np.testing.assert_allclose(shown.numpy(), data["output"], rtol=0, atol=1e-4 * data["output_stats"][2])
    flipped = data["output_flipped_input_stats"]
    np.testing.assert_allclose(statistics(mirrored)[1:], flipped[1:], rtol=1e-4, atol=1e-4 * flipped[2])


def test_tiny_is_small_and_keeps_the_grid() -> None:
    module = HRNetPose(**TINY).eval()
    assert parameter_count(module) == 455_409
    with torch.inference_mode():
        assert module(golden_input(2, 1, 3, 128, 96)).shape == (2, 17, 32, 24)


def test_every_parameter_is_used() -> None:
    module = HRNetPose(**TINY)
    module(golden_input(2, 1, 3, 64, 64)).square().mean().backward()
    unused = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert not unused


def test_card_rows_obey_the_mean_formula() -> None:
    """poseval's mean weighs Head three times and the others twice, over 15 joints; rows are rounded to 0.1."""
    for row in card.published:
        head, *others, mean = row.values.values()
        assert mean == pytest.approx((3 * head + 2 * sum(others)) / 15, abs=0.15), row.source
