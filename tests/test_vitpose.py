"""ViTPose against the original: sizes, names, outputs; and checkpoints of every source, there and back."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import fill, golden_input, shared
from torch.nn.functional import interpolate

from baselines.layers.vit import Block, DropPath, VisionTransformer
from baselines.layers.vit_names import resize_positions
from baselines.layers.vitpose import BASE, LARGE, TINY, VitposeNetwork
from baselines.vitpose import Vitpose, card
from harness.errors import WeightsError
from harness.inference.flops import multiply_adds
from harness.training.start import start_from
from harness.weights import convert, load, parameter_count, save

VARIANTS = {
    "vitpose_b_256x192": ("b-256x192", 89_994_513, 163),
    "vitpose_b384_384x288": ("b-384x288", None, 163),
    "vitpose_l_256x192": ("l-256x192", 308_544_785, 307),
}
SMALL = {"grid": (4, 3), "width": 32, "depth": 2, "heads": 2, "decoder_width": 16}


def golden(name: str):
    path = shared("golden", "vitpose", f"{name}.npz")
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    return np.load(path)


def small(**options) -> Vitpose:
    return Vitpose(**{**SMALL, **options})


def small_clip(height: int = 64, width: int = 48) -> torch.Tensor:
    return golden_input(1, 1, 3, height, width)


@pytest.mark.parametrize("name", VARIANTS)
def test_names_shapes_and_counts_are_those_of_the_original(name: str) -> None:
    preset, count, entries = VARIANTS[name]
    with torch.device("meta"):
        module = Vitpose(**card.presets[preset].options)
    ours = {key: list(value.shape) for key, value in module.state_dict().items()}
    assert len(ours) == entries
    assert count is None or parameter_count(module) == count
    assert ours == dict(json.loads(str(golden(name)["keys"])))


def test_backbone_and_head_counts() -> None:
    with torch.device("meta"):
        for options, backbone, head in ((BASE, 85_794_816, 4_199_697), (LARGE, 303_296_512, 5_248_273)):
            module = Vitpose(grid=(16, 12), **options)
            assert (parameter_count(module.backbone), parameter_count(module.keypoint_head)) == (backbone, head)


@pytest.mark.parametrize("name", VARIANTS)
def test_outputs_equal_the_original(name: str) -> None:
    data = golden(name)
    preset = card.presets[VARIANTS[name][0]]
    module = fill(Vitpose(**preset.options))
    width, height = preset.crop.size
    clip = golden_input(1, 1, 3, height, width)
    with torch.inference_mode():
        tokens = module.backbone(clip[:, 0])
        maps, heatmaps = module.backbone.as_maps(tokens), module(clip)
    for ours, theirs in ((maps[:, ::8], data["feat_sub"]), (heatmaps, data["heatmaps"])):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-4 * float(theirs.std()))


def test_block_is_attention_by_hand() -> None:
    torch.manual_seed(0)
    block, tokens = Block(8, heads=2).eval(), torch.randn(2, 5, 8)

    def layer_norm(values, layer):
        centred = values - values.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias

    query, key, value = block.attn.qkv(layer_norm(tokens, block.norm1)).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        shares = (query[..., head] @ key[..., head].transpose(1, 2) / 2).softmax(-1)
        heads.append(shares @ value[..., head])
    middle = tokens + block.attn.proj(torch.cat(heads, dim=-1))
    hidden = block.mlp.fc1(layer_norm(middle, block.norm2))
    expected = middle + block.mlp.fc2(hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)))
    torch.testing.assert_close(block(tokens), expected, rtol=1e-5, atol=1e-5)


def test_drop_path_leaves_out_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop, branch = DropPath(0.25).train(), torch.ones(4000, 3)
    dropped = drop(branch)
    assert dropped.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert bool((dropped[:, 0] == dropped[:, 2]).all())
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(branch), branch)
    encoder = VisionTransformer(grid=(4, 3), width=32, depth=3, heads=2, drop_path=0.3)
    rates = [block.drop_path.rate for block in encoder.blocks]
    assert rates == [0, pytest.approx(0.15), pytest.approx(0.3)]


def test_simple_decoder_by_hand() -> None:
    module = fill(small(decoder="simple"))
    tokens = golden_input(2, 12, 32)
    maps = tokens.transpose(1, 2).reshape(2, 32, 4, 3).relu()
    large = interpolate(maps, size=(16, 12), mode="bilinear", align_corners=False)
    torch.testing.assert_close(module.read(tokens), module.keypoint_head.final_layer(large))


def test_tiny_is_small_and_every_parameter_is_used() -> None:
    module = Vitpose(**TINY)
    assert parameter_count(module) < 2_000_000
    heatmaps = module(golden_input(2, 1, 3, 128, 96))
    assert heatmaps.shape == (2, 17, 32, 24)
    heatmaps.square().mean().backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("target", "some_keys"),
    [
        ("ViTPose release", ["backbone.blocks.1.attn.qkv.weight", "backbone.last_norm.bias"]),
        ("mmpose 1.x", ["backbone.layers.1.ffn.layers.0.0.weight", "backbone.ln1.bias", "head.deconv_layers.4.bias"]),
        ("Hugging Face", [
            "backbone.embeddings.position_embeddings", "backbone.encoder.layer.1.attention.attention.key.bias",
            "backbone.encoder.layer.0.attention.output.dense.weight", "backbone.encoder.layer.0.mlp.fc2.weight",
            "backbone.layernorm.weight", "head.deconv2.weight", "head.batchnorm1.running_var", "head.conv.bias",
        ]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("decoder", ["classic", "simple"])
def test_checkpoints_there_and_back(tmp_path: Path, target: str, some_keys: list[str], decoder: str) -> None:
    filled, clip = fill(small(decoder=decoder)), small_clip()
    save(filled, tmp_path / "ours.safetensors")
    convert(small(decoder=decoder), tmp_path / "ours.safetensors", tmp_path / "theirs.pth", to=target)
    content = torch.load(tmp_path / "theirs.pth", weights_only=True)
    theirs = content if target == "Hugging Face" else content["state_dict"]
    assert {key for key in some_keys if decoder == "classic" or "head" not in key} <= set(theirs)
    module = small(decoder=decoder).eval()
    assert load(module, tmp_path / "theirs.pth").source == target
    with torch.inference_mode():
        torch.testing.assert_close(module(clip), filled(clip), rtol=0, atol=1e-5)
    if target != "mmpose 1.x":  # which keeps no slot for the class token: the sum is the same, its parts are not
        assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())


def test_hugging_face_attention_is_cut_in_the_order_query_key_value(tmp_path: Path) -> None:
    filled = fill(small())
    save(filled, tmp_path / "ours.safetensors")
    convert(small(), tmp_path / "ours.safetensors", tmp_path / "theirs.pth", to="hugging")
    theirs = torch.load(tmp_path / "theirs.pth", weights_only=True)
    rows = filled.state_dict()["backbone.blocks.1.attn.qkv.weight"]
    for place, part in enumerate(("query", "key", "value")):
        cut = theirs[f"backbone.encoder.layer.1.attention.attention.{part}.weight"]
        assert torch.equal(cut, rows[32 * place : 32 * (place + 1)])


def test_releases_for_several_data_sets_load_as_plain_networks(tmp_path: Path) -> None:
    filled = fill(small())
    state = dict(filled.state_dict())
    for block in range(2):
        for kind in ("weight", "bias"):
            rows = state[f"backbone.blocks.{block}.mlp.fc2.{kind}"]
            state[f"backbone.blocks.{block}.mlp.fc2.{kind}"] = rows[:24]
            for expert in range(6):
                state[f"backbone.blocks.{block}.mlp.experts.{expert}.{kind}"] = rows[24:] + expert
    state["associate_heads.0.final_layer.bias"] = torch.zeros(14)
    state["backbone.cls_token"] = torch.zeros(1, 1, 32)
    torch.save({"state_dict": state}, tmp_path / "plus.pth")
    module = small()
    load(module, tmp_path / "plus.pth")
    assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("place", ["missing", "extra", "shape"])
@pytest.mark.parametrize("target", ["ViTPose release", "mmpose 1.x", "Hugging Face"])
def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path: Path, target: str, place: str) -> None:
    module = small()
    save(module, tmp_path / "ours.safetensors")
    convert(small(), tmp_path / "ours.safetensors", tmp_path / "theirs.pth", to=target)
    content = torch.load(tmp_path / "theirs.pth", weights_only=True)
    state = content.get("state_dict", content)
    key = next(key for key in state if key.endswith(("1.mlp.fc1.bias", "1.ffn.layers.0.0.bias")))
    if place == "missing":
        del state[key]
    elif place == "extra":
        state["backbone.surprise"] = torch.zeros(3)
    else:
        state[key] = state[key][1:]
    torch.save(content, tmp_path / "theirs.pth")
    named = r"backbone\.surprise" if place == "extra" else re.escape(key)
    with pytest.raises(WeightsError, match=named):
        load(module, tmp_path / "theirs.pth")


def test_positions_are_resized_to_another_crop(tmp_path: Path) -> None:
    filled = fill(small(grid=(4, 3)))
    save(filled, tmp_path / "small.safetensors")
    module = small(grid=(8, 6)).eval()
    load(module, tmp_path / "small.safetensors")
    table, other = filled.backbone.pos_embed, module.backbone.pos_embed
    assert torch.equal(other[:, :1], table[:, :1])
    maps = table[:, 1:].detach().reshape(1, 4, 3, 32).permute(0, 3, 1, 2)
    expected = interpolate(maps, size=(8, 6), mode="bicubic", align_corners=False)
    torch.testing.assert_close(other[0, 1:].reshape(8, 6, 32), expected[0].permute(1, 2, 0))
    with torch.inference_mode():
        assert module(small_clip(128, 96)).shape == (1, 17, 32, 24)


def test_stored_grids_are_square_or_of_the_same_aspect() -> None:
    # a table that grows with the column goes on doing so, whatever it was stored for
    for stored in ((14, 14), (16, 12), (24, 18)):
        columns = torch.arange(stored[1], dtype=torch.float32).expand(stored).reshape(1, -1, 1)
        table = resize_positions(torch.cat((torch.full((1, 1, 1), 7.0), columns), dim=1), (16, 12))
        assert table[0, 0, 0] == 7
        rows = table[0, 1:, 0].reshape(16, 12)
        torch.testing.assert_close(rows, rows[:1].expand_as(rows), rtol=0, atol=1e-4)
        assert bool((rows[0].diff() > 0).all())
    with pytest.raises(WeightsError, match="positions for 20 patches"):
        resize_positions(torch.zeros(1, 21, 8), (16, 12))


def test_training_starts_from_an_encoder_alone(tmp_path: Path) -> None:
    filled = fill(small())
    theirs = {
        key.removeprefix("backbone."): value for key, value in filled.state_dict().items() if "keypoint_head" not in key
    }
    theirs = {key.replace("last_norm", "norm"): value for key, value in theirs.items()}
    theirs["cls_token"], theirs["mask_token"] = torch.zeros(1, 1, 32), torch.zeros(1, 1, 32)
    theirs["decoder_embed.weight"] = torch.zeros(8, 32)
    theirs["pos_embed"] = torch.randn(1, 17, 32)  # 4x4, as MAE's 14x14 is square
    torch.save({"model": theirs}, tmp_path / "mae.pth")
    module = small()
    untouched = {key: value.clone() for key, value in module.state_dict().items()}
    start_from(module, tmp_path / "mae.pth")
    for key, value in module.state_dict().items():
        if key.startswith("backbone.blocks.") or "patch_embed" in key:
            assert torch.equal(value, filled.state_dict()[key]), key
        elif "pos_embed" not in key:
            assert torch.equal(value, untouched[key]), key
    assert torch.equal(module.backbone.pos_embed[0, 0], theirs["pos_embed"][0, 0])


def test_a_start_from_a_whole_release_fills_everything(tmp_path: Path) -> None:
    filled = fill(small())
    save(filled, tmp_path / "ours.safetensors")
    convert(small(), tmp_path / "ours.safetensors", tmp_path / "theirs.pth", to="hugging")
    module = small()
    start_from(module, tmp_path / "theirs.pth")
    assert all(torch.equal(value, filled.state_dict()[key]) for key, value in module.state_dict().items())


def test_cost() -> None:
    """Multiply-adds of ViT-B at 256x192 by hand: 12 C^2 per token and block, and 2 L C for the attention."""
    with torch.device("meta"):
        network, clips = VitposeNetwork(grid=(16, 12), **BASE).eval(), torch.zeros(1, 3, 256, 192)
        counted = multiply_adds(network, clips)
    blocks = 12 * 192 * (12 * 768**2 + 2 * 192 * 768)
    patches = 192 * 768 * 768
    head = 192 * 768 * 256 * 16 + 768 * 256 * 256 * 16 + 3072 * 256 * 17
    assert counted == pytest.approx(blocks + patches + head, rel=1e-6)
