"""Checkpoints of vision transformers: what ViTPose, mmpose, Hugging Face and MAE call our tensors, and how they differ.

Our names are those of the ViTPose release (dual_stream spec 7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isqrt

import torch
from torch.nn.functional import interpolate

from harness.errors import WeightsError
from harness.weights import KeyMap

__all__ = ["encoder_sources", "resize_positions", "sources"]

State = dict[str, torch.Tensor]
Step = Callable[[State], State]

_POSITIONS = "pos_embed", "position_embeddings"
_PARTS = "query", "key", "value"


def sources(depth: int, grid: tuple[int, int]) -> tuple[KeyMap, ...]:
    """Where a checkpoint of a whole ViTPose of `depth` blocks may come from; positions are fitted to `grid` (h,w)."""
    blocks = range(depth)
    resize = partial(_with_positions, grid=grid)
    return (
        KeyMap("ViTPose release", unpack=_one_after_other(_plain_experts, _without_extras, resize)),
        KeyMap("mmpose 1.x", _mmpose_names(blocks), unpack=_one_after_other(_with_class_slot, resize),
               pack=_without_class_slot),
        KeyMap("Hugging Face", _hugging_face_names(blocks), wrapper="",
               unpack=_one_after_other(_merged_attention, resize), pack=_split_attention),
    )  # fmt: skip


def encoder_sources(grid: tuple[int, int]) -> tuple[KeyMap, ...]:
    """Where a checkpoint of the encoder alone, to start a training from, may come from: MAE and its fine-tuned form."""
    names = tuple((name, f"backbone.{name}") for name in ("patch_embed.", "pos_embed", "blocks."))
    resize = partial(_with_positions, grid=grid)
    return (KeyMap("MAE", names, wrapper="model", unpack=_one_after_other(_encoder_only, resize)),)


def resize_positions(table: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """A position table (1,1+n,C) for another grid (h,w): bicubic, the class slot as it is (1,1+h*w,C).

    The stored grid is taken to have the aspect of the new one, or to be square as MAE's is; else WeightsError.
    """
    slot, places = table[:, :1], table[:, 1:]
    stored = _stored_grid(places.shape[1], grid)
    if stored == grid:
        return table
    maps = torch.unflatten(places.float().transpose(1, 2), 2, stored)
    resized = interpolate(maps, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    return torch.cat((slot, resized.to(table.dtype)), dim=1)


def _stored_grid(count: int, grid: tuple[int, int]) -> tuple[int, int]:
    height, width = grid
    if (count * height) % width == 0:
        rows = isqrt(count * height // width)
        if rows and rows * rows * width == count * height and count % rows == 0:
            return rows, count // rows
    if (side := isqrt(count)) ** 2 == count:
        return side, side
    raise WeightsError(
        f"the checkpoint has positions for {count} patches, which are neither a square nor of the aspect "
        f"{height}x{width} of the network's; take weights trained at that aspect"
    )


def _one_after_other(*steps: Step) -> Callable[[Mapping[str, torch.Tensor]], State]:
    def unpack(state: Mapping[str, torch.Tensor]) -> State:
        result = dict(state)
        for step in steps:
            result = step(result)
        return result

    return unpack


def _of_positions(state: State, change: Callable[[torch.Tensor], torch.Tensor]) -> State:
    return {key: change(value) if key.endswith(_POSITIONS) and value.ndim == 3 else value
            for key, value in state.items()}  # fmt: skip


def _with_positions(state: State, *, grid: tuple[int, int]) -> State:
    return _of_positions(state, lambda table: resize_positions(table, grid))


def _with_class_slot(state: State) -> State:
    return _of_positions(state, lambda table: torch.cat((torch.zeros_like(table[:, :1]), table), dim=1))


def _without_class_slot(state: Mapping[str, torch.Tensor]) -> State:
    return _of_positions(dict(state), lambda table: table[:, 1:] + table[:, :1])


def _without_extras(state: State) -> State:
    """Releases trained on several data sets hold a head for each of the others."""
    return {
        key: v for key, v in state.items() if not key.startswith("associate_heads.") and key != "backbone.cls_token"
    }


def _plain_experts(state: State) -> State:
    """ViTPose+ keeps the last rows of fc2 apart for each data set; those of the first (COCO) make a plain network."""
    plain = {}
    for key, value in state.items():
        if ".mlp.experts." in key:
            continue
        expert = state.get(key.replace(".mlp.fc2.", ".mlp.experts.0."))
        plain[key] = torch.cat((value, expert)) if ".mlp.fc2." in key and expert is not None else value
    return plain


def _encoder_only(state: State) -> State:
    """The final norm of MAE stays out, as in ViTPose; so do its class token and decoder and a classifier's head."""
    return {key: value for key, value in state.items() if key.startswith(("patch_embed.", "pos_embed", "blocks."))}


def _merged_attention(state: State) -> State:
    merged = {}
    for key, value in state.items():
        prefix, found, kind = key.rpartition(".query.")
        if found and prefix.endswith(".attention.attention"):
            parts = [state.get(f"{prefix}.{part}.{kind}") for part in _PARTS]
            present = [part for part in parts if part is not None]
            merged[f"{prefix}.qkv.{kind}"] = torch.cat(present)
        elif not key.rpartition(".")[0].endswith((".attention.attention.key", ".attention.attention.value")):
            merged[key] = value
    return merged


def _split_attention(state: Mapping[str, torch.Tensor]) -> State:
    split = {}
    for key, value in state.items():
        if ".attention.attention.qkv." not in key:
            split[key] = value
            continue
        for part, rows in zip(_PARTS, value.chunk(3), strict=True):
            split[key.replace(".qkv.", f".{part}.")] = rows
    return split


def _mmpose_names(blocks: range) -> tuple[tuple[str, str], ...]:
    inside = (("ln1.", "norm1."), ("ln2.", "norm2."), ("ffn.layers.0.0.", "mlp.fc1."), ("ffn.layers.1.", "mlp.fc2."),
              ("attn.", "attn."))  # fmt: skip
    return (
        *((f"backbone.layers.{n}.{a}", f"backbone.blocks.{n}.{b}") for n in blocks for a, b in inside),
        ("backbone.patch_embed.projection.", "backbone.patch_embed.proj."),
        ("backbone.ln1.", "backbone.last_norm."),
        ("head.", "keypoint_head."),
    )


def _hugging_face_names(blocks: range) -> tuple[tuple[str, str], ...]:
    inside = (
        ("layernorm_before.", "norm1."), ("layernorm_after.", "norm2."), ("attention.attention.qkv.", "attn.qkv."),
        ("attention.output.dense.", "attn.proj."), ("mlp.", "mlp."),
    )  # fmt: skip
    head = (("deconv1", 0), ("batchnorm1", 1), ("deconv2", 3), ("batchnorm2", 4))
    return (
        *((f"backbone.encoder.layer.{n}.{a}", f"backbone.blocks.{n}.{b}") for n in blocks for a, b in inside),
        ("backbone.embeddings.patch_embeddings.projection.", "backbone.patch_embed.proj."),
        ("backbone.embeddings.position_embeddings", "backbone.pos_embed"),
        ("backbone.layernorm.", "backbone.last_norm."),
        *((f"head.{theirs}.", f"keypoint_head.deconv_layers.{ours}.") for theirs, ours in head),
        ("head.conv.", "keypoint_head.final_layer."),
    )
