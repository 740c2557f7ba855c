"""DCPose against the original: names, every intermediate of the fusion head, whole network; and what its card says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import filled_tensor, golden_input, shared
from torch import nn

from baselines.dcpose import Dcpose, card
from harness.codecs import Targets
from harness.training.losses import losses
from harness.weights import load, parameter_count

DATA = Path(__file__).parent / "data" / "models"
DILATIONS = (3, 6, 9, 12, 15)
#: Extra constant of the goldens, without which the rough maps are in the thousands.
SCALE = {"rough_pose_estimation_net.final_layer.": 2.0**-12}


def golden(name: str):
    path = shared("golden", f"{name}.npz")
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return np.load(path)


def filled_like_the_release(module: Dcpose) -> Dcpose:
    """Every tensor drawn for the name that the release gives it."""
    names = module.key_sources[0]
    state = {}
    for key, value in module.state_dict().items():
        theirs = names.theirs(key)
        factor = next((factor for prefix, factor in SCALE.items() if theirs.startswith(prefix)), 1.0)
        state[key] = filled_tensor(theirs, tuple(value.shape)) * factor
    module.load_state_dict(state)
    return module.eval()


def watch(module: Dcpose) -> dict[str, torch.Tensor]:
    """Intermediates of the next pass, named as in the goldens."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, part: nn.Module, *, inputs: bool = False) -> None:
        def hook(_module, given, output) -> None:
            seen[name] = (given[0] if inputs else output).clone()

        part.register_forward_hook(hook)

    keep("prf_input", module.fusion.motion, inputs=True)
    keep("prf_output", module.fusion.motion)
    keep("ptm_input", module.fusion.support, inputs=True)
    keep("ptm_output", module.fusion.support)
    keep("combine_output", module.context)
    for place, dilation in enumerate(DILATIONS):
        keep(f"offsets_d{dilation}", module.offsets[place])
        keep(f"masks_d{dilation}", module.masks[place])
        keep(f"dcn_d{dilation}_out", module.reads[place])
    return seen


def close(ours: torch.Tensor, expected: np.ndarray, name: str, *, scale: float | None = None) -> None:
    tolerance = 1e-4 * (expected.std() if scale is None else scale)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def head() -> Dcpose:
    """The paper's head on a small backbone, which the sharp test bypasses."""
    return filled_like_the_release(Dcpose(backbone=card.presets["tiny"].options["backbone"]))


@pytest.fixture(scope="module")
def whole() -> Dcpose:
    return filled_like_the_release(card.build(card.presets["paper"].options))


def rough_maps() -> torch.Tensor:
    values = np.random.Generator(np.random.PCG64(20261122)).standard_normal((6, 17, 24, 18))
    return torch.from_numpy(values.astype(np.float32)).unflatten(0, (3, 2))


def run_head(module: Dcpose, margin: np.ndarray) -> dict[str, torch.Tensor]:
    seen = watch(module)
    with torch.inference_mode():
        seen["output"] = module.fuse(*rough_maps(), margin=torch.from_numpy(margin))
    return seen


def test_names_and_shapes_are_those_of_the_release() -> None:
    path = shared("golden", "dcpose_state_dict.json")
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    expected = json.loads(path.read_text())
    with torch.device("meta"):
        module = card.build(card.presets["paper"].options)
    names = module.key_sources[0]
    theirs = {names.theirs(key): list(value.shape) for key, value in module.state_dict().items()}
    assert set(theirs) == {*expected["keys"], *expected["rough_keys"]}
    assert all(theirs[key] == shape for key, shape in expected["keys"].items())
    assert [names.ours(names.theirs(key)) for key in module.state_dict()] == list(module.state_dict())
    assert parameter_count(module) == expected["n_params"]


def test_head_equals_the_original(head: Dcpose) -> None:
    """The sharpest test: swapping previous and next would change the output by 0.65 std, swapping margins by 0.38."""
    data = np.load(DATA / "dcpose_head_only.npz")
    seen = run_head(head, data["margin"])
    for name in ("ptm_output", "output"):
        close(seen[name], data[name], name)
    close(seen["prf_output"][..., ::2, ::2], data["prf_output"], "prf_output")
    close(seen["combine_output"][:, ::2, ::2, ::2], data["combine_output"], "combine_output")
    for name in ("dcn_d3_out", "dcn_d15_out"):
        close(seen[name][..., ::2, ::2], data[name], name)


def test_every_intermediate_of_the_head_equals_the_original(head: Dcpose) -> None:
    data = golden("dcpose_head_only")
    seen = run_head(head, data["margin"])
    for name in ("prf_input", "prf_output", "ptm_input", "ptm_output", "combine_output", "output"):
        close(seen[name], data[name], name)
    for dilation in DILATIONS:
        close(seen[f"dcn_d{dilation}_out"], data[f"dcn_d{dilation}_out"], f"dcn {dilation}")
    for dilation in (3, 15):
        close(seen[f"offsets_d{dilation}"][1:, :36], data[f"offsets_d{dilation}_sample1_ch0_35"], f"offsets {dilation}")
        close(seen[f"masks_d{dilation}"][1:, :18], data[f"masks_d{dilation}_sample1_ch0_17"], f"masks {dilation}")


@pytest.mark.long
def test_whole_network_equals_the_original_on_a_small_input(whole: Dcpose) -> None:
    data = golden("dcpose_forward_small")
    clips = golden_input(1, 9, 128, 96).unflatten(1, (3, 3))
    with torch.inference_mode():
        rough = whole(clips, states=True).rough
        scale = float(data["rough_current"].std())
        for place, name in enumerate(("rough_current", "rough_previous", "rough_next")):
            close(rough[:, place], data[name], name)
        seen = watch(whole)
        output = whole.fuse(*rough.transpose(0, 1), margin=torch.from_numpy(data["margin"]))
    close(output, data["output"], "output")
    close(seen["prf_input"], data["prf_input"], "prf_input", scale=scale)
    for name in ("ptm_input", "ptm_output", "prf_output", "combine_output"):
        close(seen[name], data[name], name)
    for dilation in DILATIONS:
        close(seen[f"offsets_d{dilation}"][:, :18], data[f"offsets_d{dilation}_ch0_17"], f"offsets {dilation}")
        close(seen[f"masks_d{dilation}"][:, :9], data[f"masks_d{dilation}_ch0_8"], f"masks {dilation}")
        close(seen[f"dcn_d{dilation}_out"], data[f"dcn_d{dilation}_out"], f"dcn {dilation}")


@pytest.mark.long
def test_whole_network_equals_the_original_on_a_batch(whole: Dcpose) -> None:
    data = golden("dcpose_forward_batch2")
    clips = golden_input(2, 9, 128, 96).unflatten(1, (3, 3))
    with torch.inference_mode():
        rough = whole(clips, states=True).rough
        output = whole.fuse(*rough.transpose(0, 1), margin=torch.from_numpy(data["margin"]))
    close(rough[1:, 1], data["rough_sample1_prev"], "previous frame of sample 1")
    close(output, data["output"], "output")


@pytest.mark.long
def test_whole_network_equals_the_original_at_its_own_size(whole: Dcpose) -> None:
    data = golden("dcpose_forward_384x288")
    assert data["margin"].tolist() == [[1, 1]]
    with torch.inference_mode():
        states = whole(golden_input(1, 9, 384, 288).unflatten(1, (3, 3)), states=True)
    close(states.heatmaps, data["output"], "output")
    close(states.rough[0, :, :, ::4, ::4], data["rough_all_stride4"], "rough")


def test_frames_are_current_previous_next(head: Dcpose) -> None:
    preset = card.presets["paper"]
    assert (preset.support, preset.ends) == ((0, -1, 1), "key")
    clips = golden_input(2, 3, 3, 64, 64)
    with torch.inference_mode():
        states = head(clips, states=True)
        assert torch.equal(states.heatmaps, head(clips))
        for place in range(3):
            torch.testing.assert_close(states.rough[:, place], head.backbone(clips[:, place]))


def test_equal_margins_are_the_default(head: Dcpose) -> None:
    maps = rough_maps()
    with torch.inference_mode():
        by_default = head.fuse(*maps)
        torch.testing.assert_close(by_default, head.fuse(*maps, margin=torch.tensor([[1, 1], [3, 3]])))
        assert not torch.allclose(by_default, head.fuse(*maps, margin=torch.tensor([[1, 2], [1, 1]])))


@pytest.mark.parametrize("wrapped", [True, False])
def test_files_of_the_release_load(tmp_path: Path, wrapped: bool) -> None:
    options = card.presets["tiny"].options | {"modulation": None}
    filled = filled_like_the_release(card.build(options))
    names = filled.key_sources[0]
    theirs = {f"module.{names.theirs(key)}": value for key, value in filled.state_dict().items()}
    torch.save({"begin_epoch": 20, "state_dict": theirs} if wrapped else theirs, tmp_path / "dcpose.pth")
    module = card.build(options)
    assert load(module, tmp_path / "dcpose.pth").source == "DCPose release"
    assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())


def test_start_of_the_release_gives_maps_of_nothing_and_ours_does_not() -> None:
    torch.manual_seed(0)
    clips = golden_input(1, 3, 3, 64, 64)
    for modulation, low, high in ((None, 0.0, 0.5), (1.0, 1.0, 20.0)):
        module = card.build({**card.presets["tiny"].options, "modulation": modulation}).train()
        with torch.no_grad():
            assert low <= float(module(clips).abs().max()) <= high
        assert module.reads[0].weight[3, 3, 1, 1].item() == 1


def test_tiny_is_small_and_all_of_it_learns() -> None:
    module = card.build(card.presets["tiny"].options)
    assert parameter_count(module) == 1_067_701
    states = module(golden_input(2, 3, 3, 64, 64), states=True)
    assert states.heatmaps.shape == (2, 17, 16, 16)
    targets = Targets(torch.rand(2, 17, 16, 16), torch.ones(2, 17))
    losses["dcpose_cross_entropy"](states, targets).backward()
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_released_loss_is_the_sum_over_rough_and_final_maps() -> None:
    module = card.build(card.presets["tiny"].options).eval()
    states = module(golden_input(1, 3, 3, 32, 32), states=True)
    targets = Targets(torch.rand(1, 17, 8, 8), torch.ones(1, 17))
    by_hand = sum((maps - targets.values).square().mean().item() for maps in (states.heatmaps, states.rough[:, 0]))
    assert losses["dcpose_released"](states, targets).item() == pytest.approx(by_hand, rel=1e-5)
