"""HMTA: starts as its backbone, its split, steps and losses do what they claim, and everything learns."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from baselines.hmta import ALIGNMENT_TERMS, card, constraint
from baselines.layers.hmta import HmtaNetwork
from baselines.layers.motion_split import MotionSplit, motion_score, oracle_mask
from baselines.layers.split_alignment import GuidedStep
from baselines.layers.transport import feature_cost, sinkhorn, transport_loss
from harness.codecs import Targets, build_codec
from harness.errors import UsageError, WeightsError
from harness.methods import methods
from harness.training import Recipe, losses
from harness.training.losses import loss_of
from harness.training.optimiser import make_optimiser, set_training
from harness.training.start import start_from
from harness.weights import load, parameter_count, save

TINY = card.presets["tiny"].options
RESIDUAL = [name for name in card.presets if name.startswith("tiny") and name != "tiny-not-residual"]
GOLDEN = json.loads(gzip.decompress((Path(__file__).parent / "data/hmta/ot_sinkhorn.json.gz").read_bytes()))


def network_of(preset: str = "tiny") -> HmtaNetwork:
    torch.manual_seed(0)
    return HmtaNetwork(**card.presets[preset].options)


def random_clips(count: int = 2, *, seed: int = 3) -> torch.Tensor:
    return torch.randn((count, 5, 3, 128, 96), generator=torch.Generator().manual_seed(seed))


def some_targets() -> Targets:
    joints = torch.tensor([[40.0, 60.0]]).expand(2, 17, 2)
    return build_codec(card.presets["tiny"]).encode(joints, torch.ones(2, 17))


@pytest.mark.parametrize("preset", RESIDUAL)
def test_starts_as_its_backbone_whatever_weights_that_one_gets(preset: str) -> None:
    network = network_of(preset).eval()
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in network.backbone.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        with torch.inference_mode():
            clips = random_clips(1, seed=seed)
            expected = network.backbone(clips[:, 0])
            assert expected.std() > 0
            torch.testing.assert_close(network(clips), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_not_residual_does_not_start_as_its_backbone() -> None:
    network = network_of("tiny-not-residual").eval()
    with torch.inference_mode():
        states = network(random_clips(), states=True)
    assert (states.heatmaps - states.backbone).abs().max() > 1e-3


def test_equal_frames_are_plain_and_have_finite_gradients() -> None:
    network = network_of()
    torch.nn.init.ones_(network.gain)
    clips = random_clips()[:, :1].expand(-1, 5, -1, -1, -1)
    features = network.eval().backbone.features(clips[:, 0]).detach().requires_grad_()
    states = network.from_features(features, features.expand(4, -1, -1, -1, -1), clips=clips)
    assert torch.equal(states.mask, torch.full_like(states.mask, states.mask.flatten()[0].item()))
    np.testing.assert_allclose(states.mask.detach().numpy(), 1 / (1 + np.exp(10)), rtol=1e-4)  # sigmoid(-1 / 0.1)
    (states.heatmaps.square().mean() + ALIGNMENT_TERMS["ot_salient"](states)).backward()
    assert features.grad.isfinite().all()
    assert all(value.grad.isfinite().all() for value in network.parameters() if value.grad is not None)


def test_motion_score_is_one_on_average_and_zero_without_motion() -> None:
    difference = torch.rand(2, 3, 8, 6)
    score = motion_score(difference)
    np.testing.assert_allclose(score.mean((1, 2, 3)), 1, atol=1e-4)
    assert not motion_score(torch.zeros(1, 3, 8, 6)).any()
    one = torch.zeros(1, 2, 9, 9)
    one[0, :, 4, 4] = 2.0
    # the maximum spreads one cell to 3x3; the average makes 9, 6, 4, 3, 2 or 1 ninths of it
    assert (motion_score(one)[0, 0] > 0).nonzero().amin(0).tolist() == [2, 2]
    ratios = motion_score(one)[0, 0, 4, 2:5] / motion_score(one)[0, 0, 4, 4]
    np.testing.assert_allclose(ratios, [3 / 9, 6 / 9, 1], rtol=1e-5)


@pytest.mark.parametrize("split", ["learned", "hard", "fixed", "none"])
def test_gradient_reaches_threshold_and_temperature_where_they_are_learned(split) -> None:
    torch.manual_seed(0)
    module = MotionSplit(3, split=split)
    mask, threshold = module(torch.rand(2, 3, 8, 6))
    assert (mask.shape, threshold.shape) == ((2, 1, 8, 6), (2, 1))
    torch.testing.assert_close(threshold, torch.full((2, 1), 0.0 if split == "none" else 1.0))
    if split == "none":
        assert bool((mask == 1).all()) and not list(module.parameters())
        return
    assert 0 <= mask.min() < 0.5 < mask.max() <= 1
    assert split != "hard" or set(mask.unique().tolist()) == {0.0, 1.0}
    (mask * torch.arange(48.0).view(8, 6)).mean().backward()
    names = dict(module.named_parameters())
    assert names["smooth.weight"].grad.abs().max() > 0
    if split == "fixed":
        assert set(names) == {"smooth.weight"}
    else:
        assert names["temperature"].grad.abs() > 0
        assert names["threshold.2.bias"].grad.abs() > 0


@pytest.mark.parametrize("shift", [(2, 0), (-1, 3)])
def test_true_offsets_bring_a_shifted_map_back(shift: tuple[int, int]) -> None:
    torch.manual_seed(0)
    key, (down, right) = torch.randn(1, 24, 16, 12), shift
    moved = key.roll(shift, dims=(2, 3))
    step = GuidedStep(24, offset_groups=12)
    offsets = torch.tensor([float(down), float(right)]).repeat(12 * 9).view(1, -1, 1, 1).expand(1, -1, 16, 12)
    back = step.deformable(moved, offsets, torch.ones(1, 108, 16, 12))
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(back[inside], key[inside], rtol=0, atol=1e-5)
    assert (moved[inside] - key[inside]).abs().max() > 1


def test_coarse_offsets_reach_twice_as_far() -> None:
    step, maps = GuidedStep(4, offset_groups=1, pyramid=2), torch.randn(1, 4, 12, 10)
    copied, offsets = step(maps, maps)
    torch.testing.assert_close(copied, maps)
    assert offsets.shape == (1, 18, 12, 10)
    assert not offsets.any()
    torch.nn.init.constant_(step.offsets.bias, 1.0)
    torch.nn.init.constant_(step.coarse_offsets[0].bias, 2.0)
    torch.testing.assert_close(step(maps, maps)[1], torch.full((1, 18, 12, 10), 1 + 2 * 2.0))


def test_step_starts_as_a_copy_and_keeps_its_bound() -> None:
    torch.manual_seed(0)
    step, maps = GuidedStep(8, offset_groups=2, bound=1.5), torch.randn(1, 8, 10, 9)
    copied, offsets = step(maps, torch.randn(1, 8, 10, 9))
    torch.testing.assert_close(copied, maps)
    assert not offsets.any()
    torch.nn.init.normal_(step.offsets.weight, std=5)
    _, offsets = step(maps, torch.randn(1, 8, 10, 9))
    assert 1.4 < offsets.abs().max() <= 1.5


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['cost']}-{c['eps']}-{c['iters']}-{c['marginals']}")
def test_sinkhorn_equals_the_reference(case) -> None:
    def drawn(seed: int, *shape: int) -> torch.Tensor:
        values = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)
        return torch.from_numpy(values.astype(np.float64))

    one, other = drawn(201, 6, 4), drawn(202, 5, 4)
    if case["cost"] == "cosine":
        cost = feature_cost(one.T[None, :, :, None], pad(other, (0, 0, 0, 1)).T[None, :, :, None], position=0)[..., :5]
    else:
        cost = (one[:, None] - other).square().sum(-1)[None]
    rows = None if case["marginals"] == "uniform" else torch.arange(1, 7, dtype=torch.float64)[None] / 21
    plan = sinkhorn(cost, epsilon=case["eps"], iterations=case["iters"], rows=rows)
    assert (plan * cost).sum().item() == pytest.approx(case["loss"], rel=1e-6)
    np.testing.assert_allclose(plan[0], case["plan"], rtol=0, atol=2e-12)
    wanted = np.full(6, 1 / 6) if rows is None else rows[0].numpy()
    assert np.abs(plan[0].sum(1).numpy() - wanted).max() == pytest.approx(case["row_err"], rel=1e-4, abs=1e-14)


def test_transport_without_places_is_blind_to_shuffling() -> None:
    generator = torch.Generator().manual_seed(5)
    maps, key = torch.randn((1, 8, 4, 3), generator=generator), torch.randn((1, 8, 4, 3), generator=generator)
    order = torch.randperm(12, generator=generator)
    shuffled = maps.flatten(2)[:, :, order].view_as(maps)
    blind = [transport_loss(one, key, position=0, pool=1).item() for one in (maps, shuffled)]
    seeing = [transport_loss(one, key, pool=1).item() for one in (maps, shuffled)]
    assert blind[0] == pytest.approx(blind[1], rel=1e-5)
    assert abs(seeing[0] - seeing[1]) > 1e-3
    assert transport_loss(key, key, pool=1).item() < 0.02 < seeing[0]


def test_constraint_counts_only_what_alignment_made_worse() -> None:
    targets = some_targets()
    sharp, flat = targets.values[None], torch.zeros(1, 2, 17, 32, 24)
    assert constraint(targets, sharp, flat).item() == 0
    worse = constraint(targets, flat, sharp).item()
    log_p = torch.log_softmax(targets.values[0, 0].flatten() / 0.05, dim=0)
    assert worse == pytest.approx(float((log_p.exp() * (log_p + np.log(32 * 24))).sum()), rel=1e-4)


NAMES = [name for name in losses if name.startswith("hmta_")]
VARIANTS = [("hmta_ot", f"tiny-{switch}") for switch in ("pyramid", "image-difference", "hard-split", "vit")]
VARIANTS += [("hmta_ot_information", "tiny-vit")]


@pytest.mark.parametrize(("name", "preset"), [*((name, "tiny") for name in NAMES), *VARIANTS])
def test_losses_reach_everything_but_a_frozen_backbone(name: str, preset: str) -> None:
    network = network_of(preset)
    torch.nn.init.constant_(network.gain, 0.1)
    optimiser = make_optimiser(network, Recipe(frozen=("backbone.",)))
    set_training(network, ("backbone.",))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for _ in range(2):  # what stands behind a layer that starts at 0 learns from the second step
        optimiser.zero_grad()
        loss_of(name, network, random_clips(), some_targets()).backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
        optimiser.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(key.startswith("backbone.") for key in changed)
    assert {key for key, _ in network.named_parameters() if not key.startswith("backbone.")} <= changed


def test_the_split_of_pictures_sees_motion_that_features_do_not() -> None:
    network = network_of("tiny-image-difference").eval()
    clips = random_clips(1)
    clips[:, 1] = clips[:, 0]
    clips[:, 2] = clips[:, 0]
    clips[:, 2, :, :64] += 5  # what moved is the upper half
    features = torch.zeros(1, 16, 32, 24)
    with torch.inference_mode():
        states = network.from_features(features, features.expand(4, -1, -1, -1, -1), clips=clips)
    assert states.mask[0].max() < 1e-4
    assert states.mask[1, 0, 0, 3:14, 3:21].min() > 0.5 > states.mask[1, 0, 0, 18:].max()


def test_oracle_marks_joints_that_moved_more_than_the_median() -> None:
    key = torch.tensor([[[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [12.0, 12.0]]])
    moved = key + torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [9.0, 0.0]])
    known = torch.tensor([[[True, True, True, False]]])
    mask = oracle_mask(key, moved[None], known, grid=(24, 20), radius=2.0)
    assert mask.shape == (1, 1, 1, 20, 24)
    # of the three known joints the median moved 1, so only the third counts: discs of 13 cells at (4,12) and (4,15)
    assert mask[0, 0, 0, :, 4].nonzero().flatten().tolist() == list(range(10, 18))
    assert mask.sum() == 2 * 13 - 2  # they share (4,13) and (4,14)
    assert not oracle_mask(key, moved[None], torch.zeros_like(known), grid=(24, 20)).any()


def test_oracle_mask_takes_the_place_of_the_split() -> None:
    network = network_of().eval()
    torch.nn.init.ones_(network.gain)
    clips, mask = random_clips(), torch.zeros(4, 2, 1, 32, 24)
    mask[..., ::2, :] = 1
    with torch.inference_mode():
        told, found = network(clips, states=True, mask=mask), network(clips, states=True)
        torch.testing.assert_close(network(clips, mask=found.mask), found.heatmaps)
    assert torch.equal(told.mask, mask)
    assert (told.heatmaps - found.heatmaps).abs().max() > 1e-4


@pytest.mark.parametrize("preset", ["tiny", "tiny-vit"])
def test_hands_out_its_backbone_in_the_same_pass(preset: str) -> None:
    network, clips = network_of(preset).eval(), random_clips(1)
    torch.nn.init.ones_(network.gain)
    with torch.inference_mode():
        heatmaps, backbone = network.with_backbone(clips)
        alone = network.backbone(clips[:, 0])
        spread = alone.std()  # decoders of ViTPose start at a thousandth
        torch.testing.assert_close(heatmaps / spread, network(clips) / spread)
        torch.testing.assert_close(backbone / spread, alone / spread, rtol=1e-4, atol=1e-4)
    assert (heatmaps - backbone).abs().max() > 1e-2 * spread


def test_starts_from_a_single_frame_checkpoint_of_either_backbone_or_its_own(tmp_path) -> None:
    for method, preset in (("hrnet", "tiny"), ("vitpose", "tiny-vit")):
        torch.manual_seed(5)
        single, network = methods[method].build(methods[method].presets["tiny"].options), network_of(preset)
        save(single, tmp_path / f"{method}.safetensors")
        assert start_from(network, tmp_path / f"{method}.safetensors") == "backbone."
        state = network.backbone.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in single.state_dict().items())
        save(network, tmp_path / "own.safetensors")
        assert start_from(network_of(preset), tmp_path / "own.safetensors") == ""


def test_alignment_terms_are_zero_or_least_where_supports_are_the_key() -> None:
    network = network_of().eval()
    with torch.inference_mode():
        apart = network(random_clips(), states=True)
        same = apart._replace(aligned=apart.key.expand(4, -1, -1, -1, -1))
        for name, term in ALIGNMENT_TERMS.items():
            assert term(same) < term(apart) - 1e-4, name
        for name in ("l1", "l2", "cosine"):
            assert abs(ALIGNMENT_TERMS[name](same).item()) < 1e-6


def test_sizes() -> None:
    assert parameter_count(network_of()) < 2_000_000
    with torch.device("meta"):
        paper = HmtaNetwork(**card.presets["paper"].options)
        clips = torch.zeros(1, 5, 3, 384, 288)
        assert paper.eval()(clips).shape == (1, 17, 96, 72)
        wide = HmtaNetwork(**card.presets["vit-b"].options)
        assert wide.eval()(torch.zeros(1, 5, 3, 256, 192)).shape == (1, 17, 64, 48)
    assert parameter_count(paper.backbone) == 63_595_745
    assert parameter_count(wide.backbone) == 89_994_513
    assert isinstance(wide.reduce, torch.nn.Identity)


def test_card_says_what_it_is() -> None:
    assert "author-declared failure; no reference value" in f"{card.summary} {card.notes}".lower()
    assert not card.published
    assert "85.2" not in card.notes


def test_weights_of_one_switch_do_not_load_into_another(tmp_path) -> None:
    path = tmp_path / "learned.safetensors"
    save(network_of(), path)
    load(network_of(), path)
    with pytest.raises(WeightsError, match=r"not known to the network: .*split\.temperature"):
        load(network_of("tiny-fixed-split"), path)
    with pytest.raises(UsageError, match="has no preset 'large'"):
        methods["hmta"].preset("large")
