"""The dual-stream network: sizes, the stream that never sees the key frame, every switch, losses and starts."""

import re

import pytest
import torch
from golden_fill import fill

from baselines.dual_stream import card, dual_stream_loss, heatmap_mse
from baselines.layers.dual_stream import DualStreamNetwork, DualStreamStates, as_patches
from baselines.layers.space_time import DividedBlock, hide
from baselines.layers.vitpose import TINY, VitposeNetwork
from baselines.vitpose import Vitpose
from harness.codecs import Targets, build_codec
from harness.errors import UsageError, WeightsError
from harness.methods import methods
from harness.training import losses
from harness.training.losses import loss_of
from harness.training.start import start_from
from harness.weights import convert, load, parameter_count, save

KEY = 2
NEIGHBOURS = [0, 1, 3, 4]
WITH_KEY = [name for name, preset in card.presets.items() if name.startswith("tiny") and 0 in preset.support]


def network_of(preset: str = "tiny", **options) -> DualStreamNetwork:
    """In eval mode, with batch statistics and tables that are not the defaults, so that every part matters."""
    torch.manual_seed(0)
    network = DualStreamNetwork(**{**card.presets[preset].options, **options})
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.add_(0.05 * torch.randn_like(value))
    return network.eval()


def random_clips(count: int = 2, *, frames: int = 5) -> torch.Tensor:
    return torch.randn((count, frames, 3, 128, 96), generator=torch.Generator().manual_seed(3))


def states_of(network: DualStreamNetwork, clips: torch.Tensor) -> DualStreamStates:
    with torch.inference_mode():
        return network(clips, states=True)


def some_targets() -> Targets:
    joints = torch.tensor([[40.0, 60.0]]).expand(2, 17, 2)
    return build_codec(card.presets["tiny"]).encode(joints, torch.ones(2, 17))


def test_size_of_every_part_is_the_specs() -> None:
    with torch.device("meta"):
        network = DualStreamNetwork(**card.presets["paper"].options)
    counts = {
        "encoder.joint": 14_175_744, "encoder.divided": 18_903_552, "cross": 14_178_816, "token_head": 2_363_904,
        "reconstruct": 590_592, "fuse": 1_180_416, "final": 4_199_697, "dense": 4_199_697,
        "backbone.keypoint_head": 4_199_697, "encoder.norm": 1_536, "backbone.backbone": 85_794_816,
    }  # fmt: skip
    assert {name: parameter_count(network.get_submodule(name)) for name in counts} == counts
    tables = [value for name, value in network.named_parameters() if re.fullmatch(r"(encoder\.)?[a-z_]+", name)]
    assert sum(value.numel() for value in tables) == 324_096
    assert parameter_count(network) == 150_112_563


def test_shapes_at_every_arrow_of_the_papers_size() -> None:
    with torch.device("meta"):
        network, clips = DualStreamNetwork(**card.presets["paper"].options).eval(), torch.zeros(2, 5, 3, 256, 192)
        states = network(clips, states=True)
        neighbours = network.backbone.backbone(clips[:, NEIGHBOURS].flatten(0, 1)).unflatten(0, (2, 4))
        encoded = network._encode(neighbours)
    assert neighbours.shape == encoded.frames.shape == (2, 4, 192, 768)
    assert (encoded.keypoints.shape, encoded.context.shape) == ((2, 17, 768), (2, 192, 768))
    maps = (2, 17, 64, 48)
    assert states.heatmaps.shape == states.final.shape == states.token.shape == states.visual.shape == maps
    assert states.dense.shape == (2, 4, 17, 64, 48)
    assert states.reconstruction.shape == states.patches.shape == (2, 192, 768)


@pytest.mark.parametrize("preset", WITH_KEY)
def test_one_stream_never_sees_the_key_frame(preset: str) -> None:
    network, clips = network_of(preset), random_clips()
    without = clips.clone()
    without[:, KEY] = 0
    before, after = states_of(network, clips), states_of(network, without)
    for name in ("token", "dense", "reconstruction"):
        one, other = getattr(before, name), getattr(after, name)
        assert one is other is None or torch.equal(one, other), name
    for name in ("final", "visual", "patches"):
        assert not torch.equal(getattr(before, name), getattr(after, name)), name


@pytest.mark.parametrize("reading", ["token", "dense"])
def test_what_never_sees_the_key_frame_needs_none(reading: str) -> None:
    network, clips = network_of(f"tiny-{reading}"), random_clips()
    whole = states_of(network, clips)
    with torch.inference_mode():
        alone = network(clips[:, NEIGHBOURS])
    expected = whole.token if reading == "token" else whole.dense.mean(1)
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-5 * float(expected.std()))


@pytest.mark.parametrize("preset", ["tiny", "tiny-attend-all", "tiny-average", "tiny-mutual", "tiny-cross-fusion"])
def test_order_of_neighbours_is_known_by_the_time_embedding_alone(preset: str) -> None:
    network, clips, order = network_of(preset), random_clips(), [2, 0, 3, 1]
    before = states_of(network, clips)
    moved = clips.clone()
    moved[:, NEIGHBOURS] = clips[:, NEIGHBOURS][:, order]
    unaware = states_of(network, moved)
    with torch.no_grad():
        network.time.copy_(network.time[order].clone())
    after = states_of(network, moved)
    for name in ("final", "token", "visual", "reconstruction"):
        expected = getattr(before, name)
        torch.testing.assert_close(getattr(after, name), expected, rtol=0, atol=1e-4 * float(expected.std()))
    expected = before.dense if preset == "tiny-average" else before.dense[:, order]
    torch.testing.assert_close(after.dense, expected, rtol=0, atol=1e-4 * float(expected.std()))
    if preset != "tiny-average":  # a mean of frames and of their embeddings knows no order
        assert (unaware.token - before.token).abs().max() > 1e-3 * before.token.std()


def test_visual_stream_without_its_attention_is_vitpose() -> None:
    network, clips = network_of("tiny-visual-only"), random_clips()
    control = Vitpose(**TINY).eval()
    control.load_state_dict(network.backbone.state_dict())
    with torch.inference_mode():
        expected = control(clips[:, KEY : KEY + 1])
        assert (network(clips) - expected).abs().max() > 1e-3 * expected.std()
        for block in network.cross:
            for layer in (block.proj, block.mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
        torch.testing.assert_close(network(clips), expected, rtol=0, atol=1e-5 * float(expected.std()))


def test_divided_block_by_hand() -> None:
    torch.manual_seed(0)
    block, frames, tokens = DividedBlock(8, heads=2).eval(), torch.randn(1, 3, 4, 8), torch.randn(1, 5, 8)
    got_frames, got_tokens = block(frames, tokens)
    timed = torch.stack([frames[0, :, n] + block.time(block.norm_time(frames[0, :, n])[None])[0] for n in range(4)], 1)
    seen = [block.space(block.norm_space(torch.cat((timed[t], tokens[0])))[None])[0] for t in range(3)]
    spaced = torch.stack([timed[t] + seen[t][:4] for t in range(3)])
    told = tokens[0] + (seen[0][4:] + seen[1][4:] + seen[2][4:]) / 3
    torch.testing.assert_close(got_frames[0], spaced + block.mlp(block.norm_mlp(spaced)))
    torch.testing.assert_close(got_tokens[0], told + block.mlp(block.norm_mlp(told)))


def test_fusion_by_hand() -> None:
    temporal, visual = torch.randn(2, 48, 96), torch.randn(2, 48, 96)
    with torch.inference_mode():
        assert torch.equal(network_of("tiny-mean-fusion").fuse(temporal, visual), (temporal + visual) / 2)
        join = network_of().fuse
        expected = temporal @ join.join.weight[:, :96].T + visual @ join.join.weight[:, 96:].T + join.join.bias + visual
        torch.testing.assert_close(join(temporal, visual), expected, rtol=1e-4, atol=1e-4)
        cross = network_of("tiny-cross-fusion").fuse
        assert torch.equal(cross(temporal, visual), cross.attend(temporal, visual))
        mutual = network_of("tiny-mutual").fuse
        one, other = mutual.to_visual(temporal, visual), mutual.to_temporal(visual, temporal)
        share = mutual.weigh(torch.cat((one, other), dim=-1)).softmax(-1)
        expected = share[..., :1] * one + share[..., 1:] * other
        torch.testing.assert_close(mutual(temporal, visual), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("preset", "gone", "parts"),
    [
        ("tiny-no-reconstruction", {"reconstruction"}, {"reconstruct", "encoder.context"}),
        ("tiny-no-dense", {"dense"}, {"dense"}),
        ("tiny-no-tokens", {"token"}, {"token_head", "encoder.keypoints", "encoder.keypoint_positions"}),
        ("tiny-no-joint", set(), {"encoder.joint"}),
        ("tiny-no-divided", set(), {"encoder.divided"}),
        ("tiny-no-encoder", set(), {"encoder.joint", "encoder.divided"}),
        ("tiny-mean-fusion", set(), {"fuse"}),
        ("tiny-visual-only", {"token", "dense", "reconstruction"},
         {"encoder", "dense", "final", "fuse", "time", "token_head", "reconstruct"}),
        ("tiny-temporal-only", {"visual"}, {"cross", "fuse"}),
    ],
)  # fmt: skip
def test_a_switch_takes_away_what_it_says_and_no_more(preset: str, gone: set[str], parts: set[str]) -> None:
    plain, switched = network_of(), network_of(preset)
    missing = set(plain.state_dict()) - set(switched.state_dict())
    assert missing == {
        key for key in plain.state_dict() if any(key == part or key.startswith(f"{part}.") for part in parts)
    }
    assert set(switched.state_dict()) <= set(plain.state_dict())
    states = states_of(switched, random_clips())
    assert {name for name in states._fields if getattr(states, name) is None} == gone


def test_switches_that_keep_all_parts_change_the_answer() -> None:
    plain, clips = network_of(), random_clips()
    with torch.inference_mode():
        expected = plain(clips)
        for preset in ("tiny-attend-all", "tiny-average", "tiny-visual"):
            switched = network_of(preset)
            switched.load_state_dict(plain.state_dict())
            assert (switched(clips) - expected).abs().max() > 1e-3 * expected.std(), preset


def test_temporal_only_does_not_read_the_key_frame_at_all() -> None:
    assert card.presets["tiny-temporal-only"].support == (-2, -1, 1, 2)
    network, clips = network_of("tiny-temporal-only"), random_clips()
    with torch.inference_mode():
        four, five = network(clips[:, NEIGHBOURS]), network(clips)
    torch.testing.assert_close(four, five, rtol=0, atol=1e-5 * float(five.std()))


def test_hidden_are_cubes_or_a_whole_frame() -> None:
    torch.manual_seed(0)
    frames, token = torch.zeros(200, 4, 16 * 12, 3), torch.ones(3)
    cubes = hide(frames, token, grid=(16, 12), masking="cube")[..., 0].reshape(200, 2, 2, 8, 2, 6, 2)
    assert bool((cubes == cubes[:, :, :1, :, :1, :, :1]).all())
    assert cubes.mean().item() == pytest.approx(0.5, abs=0.02)
    mixed = hide(frames, token, grid=(16, 12), masking="cube+frame")[..., 0].mean(-1)
    whole = (mixed == 1).sum(1) == 1
    assert 60 < int(whole.sum()) < 140
    assert bool((mixed[whole].sum(1) == 1).all())


def test_masking_happens_in_training_alone() -> None:
    clips = random_clips()
    network, plain = network_of("tiny-masked-frames"), network_of()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if key != "mask"})
    with torch.inference_mode():
        assert torch.equal(network(clips), plain(clips))
        network.train()
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.eval()
        assert not torch.equal(network(clips), plain(clips))


def test_patches_are_the_pixels_of_the_key_frame() -> None:
    clips = random_clips()
    patches = states_of(network_of(), clips).patches
    assert torch.equal(patches[1, 6 * 3 + 2].reshape(16, 16, 3), clips[1, KEY, :, 48:64, 32:48].permute(1, 2, 0))
    assert torch.equal(as_patches(clips[:, KEY], (8, 6)), patches)


def test_loss_by_hand() -> None:
    def flat(value: float, *shape: int) -> torch.Tensor:
        return torch.full(shape, value)

    maps = (2, 17, 32, 24)
    dense = torch.stack([flat(value, *maps) for value in (1.0, 2.0, 3.0, 4.0)], dim=1)
    states = DualStreamStates(
        flat(0.5, *maps), flat(0.5, *maps), flat(2.0, *maps), dense, flat(3.0, *maps), None,
        flat(10.0, 2, 48, 768), flat(0.0, 2, 48, 768),
    )  # fmt: skip
    targets = Targets(torch.zeros(maps), torch.ones(2, 17))
    assert heatmap_mse(flat(2.0, *maps), targets).item() == pytest.approx(4)
    dense_term, rebuilt = (1 + 4 + 9 + 16) / 4, 1e-4 * 100
    assert dual_stream_loss(states, targets).item() == pytest.approx(0.25 + 4 + dense_term + rebuilt)
    intermediate = dual_stream_loss(states, targets, supervised="intermediate")
    assert intermediate.item() == pytest.approx(4 + 9 + rebuilt)
    assert dual_stream_loss(states, targets, supervised="final_only").item() == pytest.approx(0.25 + rebuilt)
    without = states._replace(dense=None, reconstruction=None)
    assert dual_stream_loss(without, targets).item() == pytest.approx(4.25)


def test_the_loss_reaches_everything_but_the_visual_decoder() -> None:
    for preset in ("tiny", "tiny-mutual", "tiny-attend-all", "tiny-masked-frames"):
        network = network_of(preset).train()
        loss_of("dual_stream_cross_entropy", network, random_clips(), some_targets()).backward()
        idle = {name for name, value in network.named_parameters() if value.grad is None}
        assert {name for name in idle if not name.startswith("backbone.keypoint_head.")} == set(), preset
        assert idle, "the visual decoder has weight 0"


@pytest.mark.parametrize("name", [name for name in losses if name.startswith("dual_stream")])
def test_losses_are_finite_and_go_down(name: str) -> None:
    network, clips, targets = network_of().train(), random_clips(), some_targets()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    values = []
    for _ in range(4):
        optimiser.zero_grad()
        loss = loss_of(name, network, clips, targets)
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert values[-1] < values[0]


def test_presets_without_the_key_frame_train() -> None:
    network = network_of("tiny-temporal-only").train()
    loss_of("dual_stream_cross_entropy", network, random_clips(frames=4), some_targets()).backward()
    assert network.encoder.keypoints.grad.abs().sum() > 0


def test_training_starts_from_vitpose_by_any_of_its_names(tmp_path) -> None:
    filled = fill(VitposeNetwork(**TINY))
    save(filled, tmp_path / "ours.safetensors")
    convert(VitposeNetwork(**TINY), tmp_path / "ours.safetensors", tmp_path / "theirs.pth", to="hugging")
    for file in ("ours.safetensors", "theirs.pth"):
        network = network_of()
        assert start_from(network, tmp_path / file) == "backbone."
        head = filled.keypoint_head.state_dict()
        for part in (network.backbone.keypoint_head, network.dense, network.final):
            assert all(torch.equal(value, head[key]) for key, value in part.state_dict().items()), file
        assert torch.equal(network.backbone.backbone.pos_embed, filled.backbone.pos_embed)


def test_a_longer_training_keeps_its_decoders(tmp_path) -> None:
    learned = network_of()
    save(learned, tmp_path / "learned.safetensors")
    network = DualStreamNetwork(**card.presets["tiny"].options)
    assert start_from(network, tmp_path / "learned.safetensors") == ""
    assert all(torch.equal(value, learned.state_dict()[key]) for key, value in network.state_dict().items())


def test_weights_of_one_switch_do_not_load_into_another(tmp_path) -> None:
    path = tmp_path / "learned.safetensors"
    save(network_of(), path)
    for preset in ("tiny-token", "tiny-dense", "tiny-visual", "tiny-average"):
        load(network_of(preset), path)
    with pytest.raises(WeightsError, match=r"not known to the network: encoder\.context"):
        load(network_of("tiny-no-reconstruction"), path)


def test_what_is_switched_off_cannot_be_read() -> None:
    for options in ({"reading": "token", "tokens": False}, {"reading": "visual", "streams": "temporal_only"}):
        with pytest.raises(UsageError, match=f"cannot read '{options['reading']}'"):
            network_of(**options)
    with pytest.raises(UsageError, match="without a key frame"):
        network_of()(random_clips(frames=4))


def test_control_has_the_same_backbone() -> None:
    control = methods["vitpose"].presets
    assert control["tiny"].options == card.presets["tiny"].options["backbone"]
    assert (control["tiny"].crop, control["tiny"].codec_options) == (
        card.presets["tiny"].crop, card.presets["tiny"].codec_options,
    )  # fmt: skip
    plain, paper = control["plain-b-256x192"], card.presets["paper"]
    assert (plain.options, plain.codec, plain.crop) == (paper.options["backbone"], paper.codec, paper.crop)


def test_card_says_what_it_is() -> None:
    assert "no reference value" in f"{card.summary} {card.notes}".lower()
    assert not card.published
    assert parameter_count(network_of()) < 2_000_000
