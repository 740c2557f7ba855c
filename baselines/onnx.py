"""A network that was exported to ONNX, described by a TOML card beside it: `--method onnx --weights MODEL.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.clips import END_RULES
from harness.codecs import build_codec, codecs
from harness.errors import DataError, HarnessError, UsageError, WeightsError
from harness.files import sha256_of
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.skeletons import POSETRACK17, Skeleton
from harness.toml_files import read_toml
from harness.typed_json import from_plain

__all__ = ["LAYOUTS", "OnnxNetwork", "card", "read_card"]

#: What the one input of the model is: the only frame, all frames, or their channels one after the other.
LAYOUTS = ("image", "clip", "channels")

#: Pixels on a side of the input, beyond which there is no such network.
MOST = 16_384


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a TOML card says; keys without a default have to be there. `input` is (width, height) px."""

    name: str
    model: str
    input: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    codec: str
    joints: tuple[str, ...]
    support: tuple[int, ...]
    layout: str = "image"
    outputs: tuple[str, ...] | None = None
    colour: str = "rgb"
    enlarge: float = 1.25
    aspect: str = "keep"
    ends: str = "clamp"
    flip_test: bool = False
    title: str = ""
    summary: str = ""
    paper: str = ""
    licence: str = ""
    codec_options: Mapping[str, Any] = field(default_factory=dict)


class OnnxNetwork(nn.Module):
    """Clips (B,T,3,H,W) -> outputs of the model, those of several names one after the other on the last axis."""

    def __init__(self, session: Any, *, layout: str, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.session = session
        self.layout = layout
        self.outputs = outputs

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B,T,3,H,W) -> (B,J,...) on the device of the clips."""
        shaped = {"image": clips[:, 0], "clip": clips, "channels": clips.flatten(1, 2)}[self.layout]
        given = self.session.get_inputs()[0]
        size = given.shape[0] if isinstance(given.shape[0], int) else len(shaped)
        pieces = torch.split(shaped.float().contiguous().cpu(), size)
        if any(len(piece) != size for piece in pieces):
            raise UsageError(f"the model was exported for batches of {size}; export it with a free batch size, or 1")
        found = [self.session.run(self.outputs, {given.name: piece.numpy()}) for piece in pieces]
        joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        return torch.from_numpy(np.concatenate(joined, axis=-1)).float().to(clips.device)


def read_card(path: Path) -> MethodCard:
    """The card that a TOML file describes, with one preset of the name it gives; WeightsError says what is wrong."""
    described = _read(path)
    model = path.parent / described.model
    if not model.is_file():
        raise WeightsError(f"{path}: model = '{described.model}', but there is no {model}; correct it or put it there")
    shared = set(described.joints) & set(POSETRACK17.names)
    if not shared or len(set(described.joints)) < len(described.joints):
        raise WeightsError(
            f"{path}: joints are to be different names, in the order of the outputs, of: {', '.join(POSETRACK17.names)}"
        )
    preset = Preset(
        crop=CropSpec(
            size=described.input, enlarge=described.enlarge, aspect=described.aspect,
            colour=described.colour, mean=described.mean, std=described.std,
        ),
        codec=described.codec,
        codec_options=described.codec_options,
        support=described.support,
        # a card that was changed makes another run
        options={"layout": described.layout, "outputs": described.outputs, "card": sha256_of(path)[:16]},
        ends=described.ends,
        flip_test=described.flip_test,
    )  # fmt: skip
    _check_codec(path, preset)
    return MethodCard(
        name="onnx",
        title=described.title or described.name,
        summary=described.summary or f"The exported model {described.model}.",
        paper=described.paper,
        licence=described.licence,
        presets={described.name: preset},
        default_preset=described.name,
        skeleton=Skeleton(described.name, described.joints),
        build=lambda _: _open(path, model, described),
        file=model,
    )


def _read(path: Path) -> Description:
    """What the file says, every key known and of its kind."""
    remedy = "give --weights a card as `harness methods show onnx` describes it, not the model"
    table = read_toml(path, kind=WeightsError, remedy=remedy)
    try:
        described = from_plain(Description, table)
    except DataError as problem:
        raise WeightsError(f"{path}: {problem}; see `harness methods show onnx`") from None
    checks = {
        "name": described.name.replace("-", "").replace(".", "").isalnum(),
        "input": all(0 < length < MOST for length in described.input),
        "mean": all(map(isfinite, described.mean)),
        "std": all(0 < value < inf for value in described.std),
        "support": 0 in described.support,
        "layout": described.layout in LAYOUTS and (described.layout != "image" or described.support == (0,)),
        "colour": described.colour in ("rgb", "bgr"),
        "enlarge": 0 < described.enlarge < inf,
        "aspect": described.aspect in ("keep", "stretch"),
        "ends": described.ends in END_RULES,
        "codec": described.codec in codecs,
    }
    wrong = [key for key, right in checks.items() if not right]
    if wrong:
        value = getattr(described, wrong[0])
        raise WeightsError(
            f"{path}: {wrong[0]} = {list(value) if isinstance(value, tuple) else value!r} is not what is expected; "
            "see `harness methods show onnx`"
        )
    return described


def _check_codec(path: Path, preset: Preset) -> None:
    """Whether there is such a codec; what it says of its options is not ours to know."""
    try:
        build_codec(preset)
    except HarnessError:
        raise
    except Exception as problem:
        raise WeightsError(f"{path}: codec_options do not suit codec '{preset.codec}' ({problem})") from None


def _open(path: Path, model: Path, described: Description) -> OnnxNetwork:
    """The model behind a card, its input and outputs as the card says."""
    try:
        import onnxruntime
    except ImportError:
        raise UsageError("method 'onnx' needs onnxruntime: pip install 'vidpose-harness[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            str(model), sess_options=options, providers=onnxruntime.get_available_providers()
        )
    except Exception as problem:  # its own kinds of error have no common base
        raise WeightsError(f"{model}: not a model that onnxruntime can open ({str(problem).splitlines()[0]})") from None
    width, height = described.input
    frames = {"image": [3], "clip": [len(described.support), 3], "channels": [3 * len(described.support)]}
    expected = [*frames[described.layout], height, width]
    inputs, names = session.get_inputs(), [output.name for output in session.get_outputs()]
    shape = inputs[0].shape[1:]
    if len(inputs) != 1 or len(shape) != len(expected) or any(
        isinstance(found, int) and found != wanted for found, wanted in zip(shape, expected, strict=True)
    ):  # fmt: skip
        raise WeightsError(
            f"{path}: input, support and layout '{described.layout}' mean one input (batch, "
            f"{', '.join(map(str, expected))}); {model.name} has {'; '.join(str(item.shape) for item in inputs)}"
        )
    outputs = described.outputs or tuple(names[:1])
    if absent := [name for name in outputs if name not in names]:
        raise WeightsError(f"{path}: outputs has '{absent[0]}'; {model.name} has {', '.join(names)}")
    return OnnxNetwork(session, layout=described.layout, outputs=outputs)


_NOTES = """\
Needs onnxruntime: pip install 'vidpose-harness[onnx]'. Export the network with a free batch size, write a card beside \
it and give that to --weights:

    name = "mine"                       # the name of the preset in tables and records
    model = "mine.onnx"                 # beside this file
    input = [192, 256]                  # width, height
    mean = [0.485, 0.456, 0.406]        # of values in 0..1, in the order of `colour`
    std = [0.229, 0.224, 0.225]
    codec = "heatmap"                   # how outputs are read; codec_options = {sigma = 2.0}
    joints = ["nose", "head_bottom", "head_top", "left_ear"]   # order of the outputs, all of them
    support = [0]                       # frames of a clip from the key frame on, in your order: [0, -1, 1]

Optional: layout "image" (B,3,H,W), "clip" (B,T,3,H,W) or "channels" (B,T*3,H,W); outputs, names of which several are \
put one after the other on the last axis (SimCC: x, then y); colour, enlarge, aspect, ends, flip_test, title, summary, \
paper, licence. Joints are matched by name; those the model does not have count as not found. Runs where onnxruntime \
runs; precision and folding of the harness do not concern it."""


def _unnamed(_: Mapping[str, Any]) -> nn.Module:
    raise UsageError("method 'onnx' is described by a TOML card; name it with --weights MODEL.toml")


card = register_method(
    MethodCard(
        name="onnx",
        title="ONNX model",
        summary="A model of your own, exported to ONNX and described by a TOML card that --weights names.",
        licence="that of the model; this adapter Apache-2.0",
        presets={},
        default_preset="",
        build=_unnamed,
        notes=_NOTES,
        read=read_card,
    )
)
