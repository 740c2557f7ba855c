"""FAMI-Pose against the release: names, intermediates of the temporal part, information terms; and its training."""

import copy
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import filled_tensor, golden_input, read_json, shared, watch
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.fami import card, fami_loss, heatmap_mse
from baselines.layers.deformable import deform_conv2d
from baselines.layers.fami import PAPER, TINY, FamiNetwork
from baselines.layers.hrnet import TINY as TINY_HRNET
from baselines.layers.hrnet import HRNet
from baselines.layers.motion import move
from baselines.layers.mutual_information import estimate, information_terms, weighted_terms
from harness.codecs import Targets, build_codec
from harness.errors import UsageError, WeightsError
from harness.inference.folding import folded
from harness.training import Recipe, losses
from harness.training.losses import loss_of
from harness.training.optimiser import make_optimiser, set_training
from harness.training.start import start_from
from harness.weights import load, parameter_count

DATA = Path(__file__).parent / "data" / "fami"
#: Golden name of an intermediate -> our module whose output it is.
OUTPUT_OF = {
    "sup_agg_block": "gather",
    "combined_feat_layers": "compare",
    "dcn_offset_1": "local.steps.0.offsets",
    "dcn_mask_1": "local.steps.0.modulation",
    "dcn_1": "local.steps.0.deformable",
    "dcn_2": "local.steps.1.deformable",
    "dcn_3": "local.steps.2.deformable",
    "dcn_offset_4": "local.steps.3.offsets",
    "dcn_4": "local.steps.3.deformable",
    "init_feature_agg_block": "refine",
}
#: A backbone with the label head of HRNet-W48 and next to nothing before it.
NO_BACKBONE = {"width": 48, "stem": 4, "bottlenecks": 0, "blocks": 1, "modules": (0,)}


def fill_as_released(network: FamiNetwork, factors: dict[str, float]) -> FamiNetwork:
    """Fill a network by the rule of the goldens, with the names of the release; factors by beginning of name."""
    state, released = {}, network.key_sources[0]
    for key, value in network.state_dict().items():
        name = released.theirs(key)
        factor = next((factor for start, factor in factors.items() if name.startswith(start)), 1.0)
        state[key] = filled_tensor(name, tuple(value.shape)) * (factor if name.endswith("weight") else 1)
    network.load_state_dict(state)
    return network.eval()


def assert_near(found: torch.Tensor, expected: np.ndarray, tolerance: float, std: float, what: str) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance * std, err_msg=what)


def assert_intermediates(seen: dict[str, torch.Tensor], data, tolerance: float) -> None:
    stats = read_json(data, "spec")["stats"]
    for name, path in OUTPUT_OF.items():
        step = (12, 8) if "offset" in name or "mask" in name else (8, 6)
        shown = seen[path][:, :: step[0], :: step[1], :: step[1]]
        assert_near(shown, data[f"sub_{name}"], tolerance, stats[name]["mean_std_min_max_l2"][1], name)


@pytest.fixture(scope="module")
def weightless() -> FamiNetwork:
    with torch.device("meta"):
        return FamiNetwork(**PAPER).eval()


def test_names_and_shapes_are_those_of_the_release(weightless) -> None:
    golden = json.loads(gzip.decompress((DATA / "state_dict_keys.json.gz").read_bytes()))
    network, released = weightless, weightless.key_sources[0]
    ours = {released.theirs(key): list(value.shape) for key, value in network.state_dict().items()}
    assert ours == dict(golden["keys"])
    assert len(ours) == golden["n_keys"] == 1929
    assert {released.ours(key) for key in ours} == set(network.state_dict())
    assert parameter_count(network) == golden["n_params"] == 64_655_204
    assert parameter_count(network) - parameter_count(network.backbone) == 1_059_459


def test_cost_is_that_of_the_release(weightless) -> None:
    """Multiply-adds of one person: 35.3 G for each of five frames and 7.36 G for everything after (fami spec 2)."""
    clip = torch.zeros((1, 5, 3, 384, 288), device="meta")
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        weightless(clip)
    with FlopCounterMode(display=False) as frames, torch.no_grad():
        weightless.backbone.features(clip[0])
    per_frame, total = frames.get_total_flops() / 2e9 / 5, whole.get_total_flops() / 2e9
    assert (round(per_frame, 1), round(total - 5 * per_frame, 2), round(total, 1)) == (35.3, 7.36, 183.9)


def test_temporal_part_equals_the_release(monkeypatch) -> None:
    data = np.load(DATA / "temporal_only.npz")
    network = FamiNetwork(backbone=NO_BACKBONE, grid=(96, 72))
    fill_as_released(network, {"feat_global_offset_layers.9.": 60.0})
    features = golden_input(5, 48, 96, 72)
    monkeypatch.setattr(network.backbone, "features", lambda _images: features)
    seen = watch(network, list(OUTPUT_OF.values()))
    with torch.inference_mode():
        states = network.states(torch.zeros(1, 5, 3, 4, 4))
        terms = information_terms(states.evidence)
        moved = move(features[1:], states.motions[:, 0]).reshape(1, 192, 96, 72)
    assert_near(states.heatmaps[..., ::3, ::3], data["final_heatmaps"], 1e-4, data["final_heatmaps"].std(), "heatmaps")
    assert_near(states.motions, data["translations_xy"], 1e-5, 1, "translations")
    assert np.abs(data["translations_xy"]).max() > 3, "far enough to tell x from y and the sign"
    assert_near(moved[:, ::8, ::6, ::6], data["sub_warped_cat"], 1e-4, 1, "moved maps")
    assert_intermediates(seen, data, 1e-4)
    np.testing.assert_allclose(terms.numpy(), data["mi_terms"], rtol=0, atol=1e-9)


def test_whole_network_equals_the_release() -> None:
    path = shared("golden", "fami", "fami_pose_384x288.npz")
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    data = np.load(path)
    network = fill_as_released(FamiNetwork(**PAPER), {"dcn_offset_": 2e-4, "dcn_mask_": 1e-4})
    seen = watch(network, list(OUTPUT_OF.values()))
    with torch.inference_mode():
        states = network.states(golden_input(5, 3, 384, 288)[None])
    for found, name, tolerance in (
        (states.heatmaps, "final_heatmaps", 1e-3),
        (states.backbone, "keyframe_backbone_heatmaps", 1e-4),
    ):
        assert_near(found, data[name], tolerance, data[name].std(), name)
    assert_near(states.motions, data["translations_xy"], 5e-3, 1, "translations")
    assert_intermediates(seen, data, 1e-3)


def test_moving_and_deformable_convolution_equal_the_release() -> None:
    data = np.load(DATA / "ops.npz")

    def draw(seed: int, *shape: int) -> torch.Tensor:
        return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32))

    moved = move(draw(7, 2, 3, 12, 9), torch.from_numpy(data["warp_translation_xy"]))
    np.testing.assert_allclose(moved.numpy(), data["warp_out"], atol=5e-6)
    convolved = deform_conv2d(
        draw(11, 1, 8, 9, 7), draw(12, 1, 72, 9, 7) * 1.7, draw(14, 6, 8, 3, 3) * 0.2, draw(15, 6),
        padding=3, dilation=3, mask=draw(13, 1, 36, 9, 7),
    )  # fmt: skip
    np.testing.assert_allclose(convolved.numpy(), data["deform_out"], atol=5e-6)


def test_affine_motion_by_hand() -> None:
    maps = torch.arange(20.0).reshape(1, 1, 4, 5)
    still = move(maps, torch.zeros(1, 6))
    torch.testing.assert_close(still, maps)
    torch.testing.assert_close(move(maps, torch.tensor([[1.0, -2, 0, 0, 0, 0]])), move(maps, torch.tensor([[1.0, -2]])))
    half_turn = move(maps, torch.tensor([[0.0, 0, -2, 0, 0, -2]]))
    torch.testing.assert_close(half_turn, maps.flip(-1, -2))
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    # out[p] = in[o + L (p - o)] with L = [[0, -1], [1, 0]]: out at row y, column x is in at row x, column 2 - y
    quarter_turn = move(square, torch.tensor([[0.0, 0, -1, -1, 1, -1]]))
    expected = torch.tensor([[square[0, 0, x, 2 - y] for x in range(3)] for y in range(3)])
    torch.testing.assert_close(quarter_turn[0, 0], expected)


def draw_features(case: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, nn.Conv2d]:
    shapes = {101: (2, 48, 12, 9), 102: (2, 48, 12, 9), 103: (2, 17, 12, 9)}
    first, second, heatmaps = (
        torch.from_numpy(
            (case["scale"] * np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)).astype(np.float32)
        ).requires_grad_()
        for seed, shape in shapes.items()
    )
    head = nn.Conv2d(48, 17, 1).requires_grad_(False)
    head.weight.copy_(filled_tensor("hrnet.final_layer.weight", (17, 48, 1, 1)))
    head.bias.copy_(filled_tensor("hrnet.final_layer.bias", (17,)))
    return first, second, heatmaps, head


PRIMITIVES = json.loads((DATA / "mi_primitives.json").read_text())


@pytest.mark.parametrize("case", PRIMITIVES["cases"], ids=lambda case: f"scale {case['scale']}")
def test_information_estimates_equal_the_release_and_have_a_gradient(case) -> None:
    first, second, heatmaps, head = draw_features(case)
    for known, learned, name, gradient in (
        (first, second, "feat_feat", "feat_feat_grad_F2_l2"),
        (head(first), heatmaps, "feat_label", "feat_label_grad_Y_l2"),
    ):
        value = estimate(known, learned)
        assert value.item() == pytest.approx(case[name], rel=1e-5)
        value.backward()
        assert first.grad is None, "gradient reaches the learned maps alone"
        norm = learned.grad.norm().item()
        if case[gradient] == "nan":
            assert np.isfinite(norm) and norm > 0
        else:
            assert norm == pytest.approx(case[gradient], rel=1e-3)
        divergence = -estimate(known, learned, estimator="kl")
        assert divergence.item() == pytest.approx(case["proper_kl_batchmean"][name], rel=1e-4)


def test_six_terms_are_weighed_as_released() -> None:
    combination = PRIMITIVES["combination"]
    terms = torch.tensor(combination["terms"], dtype=torch.float64)
    found = weighted_terms(terms, weight=combination["alpha"], complementary=combination["beta"])
    assert found.item() == pytest.approx(combination["value"], rel=1e-9)


def a_batch(network: FamiNetwork) -> tuple[torch.Tensor, Targets]:
    clips = torch.randn((2, 5, 3, 128, 96), generator=torch.Generator().manual_seed(3))
    joints = torch.tensor([[40.0, 60.0]]).expand(2, 17, 2)
    return clips, build_codec(card.presets["tiny"]).encode(joints, torch.ones(2, 17))


@pytest.fixture
def tiny() -> FamiNetwork:
    torch.manual_seed(0)
    return FamiNetwork(**TINY)


def test_tiny_is_small_and_keeps_the_grid(tiny) -> None:
    assert parameter_count(tiny) == 590_804
    clips, _ = a_batch(tiny)
    with torch.inference_mode():
        states = tiny.eval()(clips, states=True)
        assert torch.equal(states.heatmaps, tiny(clips))
        assert torch.equal(states.backbone, HRNet.forward(tiny.backbone, clips[:, 0])), "one pass gives the control"
    assert states.heatmaps.shape == (2, 17, 32, 24)


def test_memory_order_and_folding_change_nothing(tiny) -> None:
    clips, _ = a_batch(tiny)
    with torch.inference_mode():
        plain = tiny.eval()(clips)
        ordered = copy.deepcopy(tiny).to(memory_format=torch.channels_last)
        without_norms = folded(ordered, clips[:1])
        assert without_norms is not ordered
        for network in (ordered, without_norms):
            torch.testing.assert_close(network(clips), plain, rtol=0, atol=1e-4 * plain.std().item())


def test_half_precision_stays_near(tiny) -> None:
    clips, _ = a_batch(tiny)
    with torch.inference_mode():
        exact = tiny.eval()(clips)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = tiny(clips).float()
    assert 0 < (half - exact).abs().max() / exact.std() < 0.2


@pytest.mark.parametrize("name", [name for name in losses if name.startswith("fami_") and "simcc" not in name])
def test_losses_reach_everything_but_what_is_frozen(name: str) -> None:
    torch.manual_seed(0)
    network = FamiNetwork(**TINY, affine=True)
    optimiser = make_optimiser(network, Recipe(frozen=("backbone.",)))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    set_training(network, ("backbone.",))
    clips, targets = a_batch(network)
    loss_of(name, network, clips, targets).backward()
    without = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert all(key.startswith("backbone.") for key in without) and len(without) == len(
        list(network.backbone.parameters())
    )
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
    optimiser.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(key.startswith("backbone.") for key in changed), "neither weights nor batch statistics"
    assert {key for key, _ in network.named_parameters() if not key.startswith("backbone.")} <= changed


def test_loss_is_the_sum_of_its_terms(tiny) -> None:
    clips, targets = a_batch(tiny)
    states = tiny.eval().states(clips)
    weighted = (targets.weights[..., None, None] * (states.heatmaps - targets.values)).square()
    mse = np.mean([weighted[:, joint].mean().item() for joint in range(17)])
    assert heatmap_mse(states.heatmaps, targets).item() == pytest.approx(mse, rel=1e-5)
    t1, t2, t3, t4, t5, t6 = information_terms(states.evidence).tolist()
    assert t2 == t6
    expected = mse + 0.5 * (-0.1 * t1 + 0.1 * t2 + t3 - t4 + t5 - t6)
    found = fami_loss(states, targets, heatmap_term=heatmap_mse, estimator="released")
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert loss_of("fami_released", tiny, clips, targets).item() == pytest.approx(expected, rel=1e-5)
    divergences = information_terms(states.evidence, estimator="kl") / (32 * 24)
    expected = mse + weighted_terms(divergences).item()
    assert loss_of("fami_kl", tiny, clips, targets).item() == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_states_refuses_a_network_without_them(tiny) -> None:
    clips, targets = a_batch(tiny)
    with pytest.raises(UsageError, match="'fami_kl' reads states that HRNet does not give"):
        loss_of("fami_kl", tiny.backbone, clips, targets)


def test_released_start_is_dead_and_ours_is_not() -> None:
    clips = torch.randn((1, 5, 3, 128, 96), generator=torch.Generator().manual_seed(3))
    calibrated = []
    for modulation in (0.0, 1.0):
        torch.manual_seed(0)
        network = FamiNetwork(**{**TINY, "modulation": modulation}).eval()
        seen = watch(network, ["local", "gather"])
        with torch.inference_mode():
            network(clips)
        calibrated.append(seen["local"].std().item() / seen["gather"].std().item())
    assert calibrated[0] < 1e-6 < 1e-2 < calibrated[1]


def test_released_checkpoint_loads_by_its_names(tiny, tmp_path) -> None:
    path, other, released = tmp_path / "epoch_20.safetensors", FamiNetwork(**TINY), tiny.key_sources[0]
    state = {f"module.{released.theirs(key)}": value.clone() for key, value in tiny.state_dict().items()}
    assert "module.feat_global_offset_layers.5.weight" in state, "the layer without weights is counted"
    save_file(state, path)
    assert load(other, path).source == "FAMI-Pose release"
    assert all(torch.equal(value, tiny.state_dict()[key]) for key, value in other.state_dict().items())
    del state["module.dcn_mask_4.conv.bias"]
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"1 missing: dcn_mask_4\.conv\.bias \(here local\.steps\.3\."):
        load(other, path)
    save_file(tiny.state_dict(), path)
    assert load(other, path).source == "our names"


def test_paper_presets_are_the_release_but_for_what_they_name() -> None:
    paper = card.presets["paper"]
    assert (paper.support, paper.ends, paper.flip_test) == ((0, -2, -1, 1, 2), "fami", False)
    assert (paper.crop.size, paper.crop.enlarge, paper.crop.geometry) == ((288, 384), 1.25, "dark")
    assert (build_codec(paper).geometry, build_codec(paper).grid) == ("plain", (72, 96))
    assert card.presets["paper-clamp"].ends == "clamp"
    assert card.presets["paper-consistent"].crop.geometry is None


def test_card_rows_obey_the_mean_formula() -> None:
    """poseval's mean weighs Head three times and the others twice, over 15 joints; rows are rounded to 0.1."""
    for row in card.published:
        head, *others, mean = row.values.values()
        assert mean == pytest.approx((3 * head + 2 * sum(others)) / 15, abs=0.15), row.source


def test_training_starts_from_a_backbone_and_freezes_it(tmp_path) -> None:
    torch.manual_seed(1)
    backbone, network, path = HRNet(**TINY_HRNET), FamiNetwork(**TINY), tmp_path / "hrnet.safetensors"
    save_file(backbone.state_dict(), path)
    assert start_from(network, path) == "backbone."
    assert all(torch.equal(value, network.backbone.state_dict()[key]) for key, value in backbone.state_dict().items())
    assert start_from(HRNet(**TINY_HRNET), path) == ""
    save_file({**backbone.state_dict(), "extra": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="no place in FamiNetwork or in a part of it"):
        start_from(network, path)
    with pytest.raises(UsageError, match=r"'hrnet\.\.\.\.'; parts are backbone\., compare\., .*head\."):
        make_optimiser(network, Recipe(frozen=("hrnet.",)))
