"""Adaptive convolution against its definition, and the recurrent mode: how often, on what, and in which crop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import fill, golden_input

from baselines.dcpose_adaptive import card, resample
from baselines.layers.adaptive import AdaptiveConvolution
from harness.inference.crops import crop_matrices, transform
from harness.weights import parameter_count

GOLDEN = Path(__file__).parent / "data" / "layers" / "adaptive_conv.npz"


def close(ours: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=0, atol=1e-5 * expected.std())


def test_adaptive_convolution_equals_its_definition() -> None:
    data = {name: torch.from_numpy(values) for name, values in np.load(GOLDEN).items()}
    module = AdaptiveConvolution(15)
    module.load_state_dict({
        "affine.weight": data["affine_weight"], "affine.bias": data["affine_bias"],
        "translation.weight": data["translation_weight"], "translation.bias": data["translation_bias"],
        "deformable.weight": data["deform_weight"],
    })  # fmt: skip
    close(module.offsets(data["x"]), data["offset"].numpy())
    close(module.deformable(data["x"], data["offset"]), data["deform_out"].numpy())
    close(module(data["x"]), data["output"].numpy())


def test_adaptive_convolution_starts_with_its_taps_in_place() -> None:
    module = AdaptiveConvolution(3, gain=0.5)
    x = torch.randn(2, 3, 8, 6)
    assert not module.offsets(x).any()
    torch.testing.assert_close(module(x), 1.5 * x)
    assert (AdaptiveConvolution(3, norm_act=True)(x) >= 0).all()


@pytest.fixture(scope="module")
def network():
    module = fill(card.build(card.presets["tiny"].options))
    with torch.no_grad():  # the fill draws offsets of many cells; a tenth of them is enough to matter
        for name, parameter in module.named_parameters():
            if name.startswith(("correct.affine", "correct.translation", "backbone.final_layer")):
                parameter *= 0.1
    return module


def count_calls(module) -> list[int]:
    calls: list[int] = []
    module.backbone.register_forward_hook(lambda _module, given, _output: calls.append(len(given[0])))
    return calls


def test_recurrent_pass_sees_every_frame_once(network) -> None:
    """Three frames, one crop, the first and the last standing in beyond the ends: by hand from the definition."""
    frames = golden_input(3, 2, 3, 64, 64)
    with torch.inference_mode():
        rough = [network.backbone(frame) for frame in frames]
        calls = count_calls(network)
        state = network.begin(torch.stack((frames[0], frames[0], frames[1]), dim=1))
        assert calls == [4]
        outputs = []
        for following in (frames[1], frames[2], frames[2]):
            corrected, state = network.step(following[:, None], state)
            outputs.append(corrected)
        assert calls == [4, 2, 2, 2]
        first = network.fuse(rough[0], rough[0], rough[1])
        second = network.fuse(rough[1], first, rough[2])
        third = network.fuse(rough[2], second, rough[2])
    for ours, expected in zip(outputs, (first, second, third), strict=True):
        torch.testing.assert_close(ours, expected)


def test_first_step_is_the_plain_mode_and_the_second_is_not(network) -> None:
    clips = golden_input(2, 3, 3, 64, 64)
    with torch.inference_mode():
        corrected, state = network.step(clips[:, 2:], network.begin(clips))
        torch.testing.assert_close(corrected, network(clips))
        still = network.step(clips[:, 2:], state)[0]
        assert not torch.allclose(still, corrected), "from then on the corrected map is fed back"


def test_resampling_follows_the_crops() -> None:
    """A peak drawn in one crop is found at the same image px in another one that is larger and shifted."""
    boxes = (
        np.array([[100.0, 100.0], [108.0, 96.0]], dtype=np.float32),
        np.array([[0.5, 0.5], [0.65, 0.65]], np.float32),
    )
    cells = crop_matrices(*boxes, (24, 32))
    old, new = (np.vstack([matrix, [0, 0, 1]]) for matrix in cells)
    point = np.array([[[110.0, 90.0]]])
    there = transform(point, cells[:1])[0, 0]
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    drawn = torch.exp(-((x - there[0]) ** 2 + (y - there[1]) ** 2) / 8)[None, None].float()
    moved = torch.from_numpy((old @ np.linalg.inv(new))[None, :2])
    result = resample(drawn, moved)[0, 0]
    mass = result / result.sum()
    found = float((mass * x).sum()), float((mass * y).sum())
    assert found == pytest.approx(transform(point, cells[1:])[0, 0], abs=0.05)


def test_resampling_by_the_identity_changes_nothing_and_beyond_the_crop_is_the_minimum() -> None:
    maps = torch.randn(2, 3, 7, 5)
    identity = torch.eye(3)[None, :2].repeat(2, 1, 1)
    torch.testing.assert_close(resample(maps, identity), maps, rtol=1e-5, atol=1e-5)
    identity[:, 0, 2] = 100
    torch.testing.assert_close(resample(maps, identity), maps.amin((-2, -1), keepdim=True).expand_as(maps))


def test_both_maps_are_carried_into_a_crop_that_moved(network) -> None:
    state = torch.randn(2, 2, 17, 16, 16)
    moved = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]]).repeat(2, 1, 1)
    carried = network.carry(state, moved)
    for place in (0, 1):
        torch.testing.assert_close(carried[:, place], resample(state[:, place], moved))


def test_switches() -> None:
    options = card.presets["tiny"].options
    clips = golden_input(1, 3, 3, 64, 64)
    outputs = []
    for switches in ({}, {"add_support": True}, {"norm_act": True}):
        torch.manual_seed(0)
        with torch.inference_mode():
            outputs.append(card.build({**options, **switches}).eval()(clips))
    assert not torch.equal(outputs[0], outputs[1])
    assert (outputs[2] >= 0).all()


def test_tiny_is_small_and_all_of_it_learns() -> None:
    module = card.build(card.presets["tiny"].options)
    assert parameter_count(module) <= 2_000_000
    module(golden_input(2, 3, 3, 64, 64)).square().mean().backward()
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_feedback_is_for_training_alone_and_corrects_the_previous_map_without_gradient() -> None:
    """The recurrent presets' networks: the draw of corrections changes training outputs, never those of evaluation."""
    options = {**card.presets["tiny"].options, "norm_act": False}
    torch.manual_seed(0)
    module = card.build({**options, "feedback": 3})
    clips = golden_input(2, 3, 3, 64, 64)
    outputs = set()
    for seed in range(12):
        torch.manual_seed(seed)
        module.begin_step()
        outputs.add(round(float(module.train()(clips).detach().abs().sum()), 3))
    assert 2 <= len(outputs) <= 4
    rough = torch.rand(2, 2, 17, 16, 16, requires_grad=True)
    drawn = []
    for seed in range(12):
        torch.manual_seed(seed)
        module.begin_step()
        drawn.append(module._corrected(rough[0], rough[1]))
    rough_again, corrected = ([each for each in drawn if each.requires_grad is held] for held in (True, False))
    assert rough_again and corrected, "drawn as it is, or corrected without gradient"
    assert all(torch.equal(each, rough[0]) for each in rough_again)
    assert not any(torch.equal(each, rough[0]) for each in corrected)
    module.eval()
    with torch.inference_mode():
        plain = card.build(options).eval()
        plain.load_state_dict(module.state_dict())
        torch.testing.assert_close(module(clips), plain(clips), rtol=0, atol=0)
    assert card.presets["tiny-recurrent"].options["feedback"] == 3
    assert "feedback" not in card.presets["tiny"].options
