"""mmpose's names and shapes of DEKR's heads: all joints in one grouped layer, matrix and shift in one convolution.

There the sampling matrix holds the identity, which is taken off a regular grid here (whole_frame.md 3.1); 0.x has the
centre's heatmap first, and 1.x offsets that point the other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from harness.weights.sources import KeyMap

__all__ = ["MMPOSE_0_DEKR", "MMPOSE_DEKR"]

#: Of each joint's six channels (2 rows of a 2x3 matrix), those of the matrix and those of the shift.
_MATRIX, _SHIFT = [0, 1, 3, 4], [2, 5]
_IDENTITY = torch.tensor([1.0, 0.0, 0.0, 1.0])
#: Their names of what a block holds once for all joints -> ours.
_KINDS = {"adapt_conv": "adapt_conv", "norm": "bn"}
_PLAIN = {
    "heatmap_conv_layers.0.conv.": "transition_heatmap.0.",
    "heatmap_conv_layers.0.bn.": "transition_heatmap.1.",
    "heatmap_conv_layers.1.": "head_heatmap.0.0.",
    "heatmap_conv_layers.2.": "head_heatmap.1.",
    "{offsets}.0.conv.": "transition_offset.0.",
    "{offsets}.0.bn.": "transition_offset.1.",
}

State = Mapping[str, torch.Tensor]


def _unpack(state: State, *, head: str, offsets: str, centre_first: bool, sign: float) -> dict[str, Any]:
    """Their state dict with grouped tensors as one per joint; what has but another name stays as it is."""
    grouped = f"{head}{offsets}."
    joints = len(state.get(f"{grouped}1.transform_matrix_conv.bias", ())) // 6
    ours: dict[str, Any] = {}
    for key, value in state.items():
        layer, _, name = key.removeprefix(grouped).partition(".")
        if "rescore_net" in key:
            continue
        if key.startswith(grouped) and layer in "123":
            ours |= _per_joint(int(layer), name, value, joints, sign)
        elif centre_first and key.startswith(f"{head}heatmap_conv_layers.2."):
            ours[key] = torch.cat([value[1:], value[:1]])
        else:
            ours[key] = value
    blocks = [f"offset_feature_layers.{joint}.{block}" for joint in range(joints) for block in (0, 1)]
    return ours | {f"{block}.regular_matrix": _grid(2) for block in blocks}


def _per_joint(layer: int, name: str, value: torch.Tensor, joints: int, sign: float) -> dict[str, torch.Tensor]:
    """One grouped tensor as one tensor per joint."""
    kind, _, leaf = name.rpartition(".")
    if leaf in ("regular_matrix", "num_batches_tracked"):
        return {}
    parts = value.chunk(joints)
    if layer == 3:
        return {f"offset_final_layer.{joint}.{leaf}": sign * part for joint, part in enumerate(parts)}
    found = {}
    for joint, part in enumerate(parts):
        block = f"offset_feature_layers.{joint}.{layer - 1}"
        if kind == "transform_matrix_conv":
            found[f"{block}.{kind}.{leaf}"] = part[_MATRIX] + _IDENTITY.to(part) if leaf == "bias" else part[_MATRIX]
            found[f"{block}.translation_conv.{leaf}"] = part[_SHIFT]
        else:
            found[f"{block}.{_KINDS[kind]}.{leaf}"] = part
    return found


def _pack(state: State, *, head: str, offsets: str, centre_first: bool, sign: float) -> dict[str, Any]:
    """The other way: tensors of joints side by side, as the source's programs write them."""
    grouped = f"{head}{offsets}."
    theirs = {key: value for key, value in state.items() if not key.startswith("offset_")}
    if centre_first:
        for key in [key for key in theirs if key.startswith(f"{head}heatmap_conv_layers.2.")]:
            theirs[key] = torch.cat([theirs[key][-1:], theirs[key][:-1]])
    joints = range(sum(key.startswith("offset_final_layer.") and key.endswith(".bias") for key in state))
    for leaf in ("weight", "bias"):
        finals = [state[f"offset_final_layer.{joint}.{leaf}"] for joint in joints]
        theirs[f"{grouped}3.{leaf}"] = sign * torch.cat(finals)
    for block in (0, 1):
        places = [f"offset_feature_layers.{joint}.{block}." for joint in joints]
        for leaf in ("weight", "bias"):
            parts = [_rows(state, place, leaf) for place in places]
            theirs[f"{grouped}{block + 1}.transform_matrix_conv.{leaf}"] = torch.cat(parts)
        theirs[f"{grouped}{block + 1}.regular_matrix"] = _grid(3)
        for kind, ours in _KINDS.items():
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                if f"{places[0]}{ours}.{leaf}" in state:
                    whole = torch.cat([state[f"{place}{ours}.{leaf}"] for place in places])
                    theirs[f"{grouped}{block + 1}.{kind}.{leaf}"] = whole
    return theirs


def _rows(state: State, place: str, leaf: str) -> torch.Tensor:
    """The six rows of one joint's matrix and shift."""
    matrix, shift = state[f"{place}transform_matrix_conv.{leaf}"], state[f"{place}translation_conv.{leaf}"]
    rows = matrix.new_empty((6, *matrix.shape[1:]))
    rows[_MATRIX] = matrix - _IDENTITY.to(matrix) if leaf == "bias" else matrix
    rows[_SHIFT] = shift
    return rows


def _grid(rows: int) -> torch.Tensor:
    steps = torch.tensor([-1.0, 0.0, 1.0])
    return torch.stack([steps.repeat_interleave(3), steps.repeat(3), torch.ones(9)])[:rows]


def _source(name: str, *, head: str, offsets: str, centre_first: bool, sign: float) -> KeyMap:
    renamed = tuple((head + theirs.format(offsets=offsets), ours) for theirs, ours in _PLAIN.items())
    kept = (("offset_feature_layers.", "offset_feature_layers."), ("offset_final_layer.", "offset_final_layer."))
    return KeyMap(
        name,
        (*renamed, *kept, ("backbone.", "")),
        unpack=partial(_unpack, head=head, offsets=offsets, centre_first=centre_first, sign=sign),
        pack=partial(_pack, head=head, offsets=offsets, centre_first=centre_first, sign=sign),
    )


MMPOSE_DEKR = _source(
    "mmpose 1.x", head="head.", offsets="displacement_conv_layers", centre_first=False, sign=-1.0
)  # fmt: skip
MMPOSE_0_DEKR = _source(
    "mmpose 0.x", head="keypoint_head.", offsets="offset_conv_layers", centre_first=True, sign=1.0
)  # fmt: skip
