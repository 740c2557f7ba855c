"""The Method protocol, the card that describes a method, and the registry of methods.

A method is two things and no more: a card, and `forward(clips (B,T,3,H,W)) -> outputs` that its codec decodes.
The harness owns geometry (box -> crop -> image), batching, precision, flip test and placement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import UsageError
from harness.registry import Registry, load_plugins
from harness.skeletons import GROUPS, POSETRACK17, Skeleton

if TYPE_CHECKING:
    import torch

    from harness.datasets.sequences import DataSet

__all__ = [
    "CropSpec",
    "FrameSpec",
    "Method",
    "MethodCard",
    "Preset",
    "Published",
    "Recurrent",
    "WholeFrameMethod",
    "WholeFramePreset",
    "card_of",
    "methods",
    "register_method",
]


@dataclass(frozen=True)
class CropSpec:
    """How a box becomes a network input.

    `size` (width, height) px; `enlarge` the factor on the box after its aspect was fixed; `aspect` "keep" enlarges the
    box to the input's aspect, "stretch" maps the box itself onto the input; `colour` "rgb" or "bgr"; mean and std per
    channel position of values in 0..1. `geometry` is that of the crop where it differs from the codec's (FAMI-Pose
    crops by the "dark" matrix and decodes by the plain one).
    """

    size: tuple[int, int]
    enlarge: float = 1.25
    aspect: str = "keep"
    colour: str = "rgb"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    geometry: str | None = None


@dataclass(frozen=True)
class Preset:
    """One size of a method.

    `support` are the frame offsets of a clip in the method's own order, 0 being the key frame; an empty tuple means
    the method sees no pixels. `box_offset` is the frame whose box (of the same track) is looked at: 0 but for
    controls. `codec` names the codec that decodes the outputs, with its `codec_options`; `options` go to `build`.
    `weights` names an entry of the weights manifest, None where none are shipped. `ends` names the rule for support
    frames beyond the ends of the video (harness.clips.END_RULES). `ordered` is False where support frames may be
    exchanged without a change of the outputs; the contract tests hold a preset to it.

    `recurrent` are those frames of `support` that a step along a track still has to look at; where there are any, the
    module is a Recurrent, and a sequence is run frame after frame.
    """

    crop: CropSpec
    codec: str
    support: tuple[int, ...] = (0,)
    box_offset: int = 0
    codec_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    flip_test: bool = False
    ends: str = "clamp"
    ordered: bool = True
    recurrent: tuple[int, ...] = ()


@dataclass(frozen=True)
class Published:
    """A published row: percent AP per group (Head ... Ankle, Mean) and where it was read."""

    dataset: str
    split: str
    values: Mapping[str, float]
    source: str

    @classmethod
    def row(cls, dataset: str, split: str, percents: str, source: str) -> Published:
        """A row as tables print it: the percents of the groups in the order of GROUPS, then the mean.

        >>> Published.row("posetrack17", "val", "82.1 83.6 80.4 73.3 75.5 75.3 68.5 77.3", "a table").values["Mean"]
        77.3
        """
        names = (*GROUPS, "Mean")
        return cls(dataset, split, dict(zip(names, map(float, percents.split()), strict=True)), source)


@dataclass(frozen=True)
class FrameSpec:
    """How a whole frame becomes network inputs (whole_frame.md 1.1).

    `short_side` px of its short side at scale 1; `scales` the sizes it is looked at in, whose findings are combined;
    `rule` "bars" adds black bars up to a multiple of 64, "fit" adds nothing and keeps to `longest_side`.
    """

    short_side: int
    scales: tuple[float, ...] = (1.0,)
    rule: str = "bars"
    longest_side: int | None = None


@dataclass(frozen=True)
class WholeFramePreset(Preset):
    """One size of a method that takes whole frames and finds the persons itself: nobody tells it where they are.

    A clip is then the frame, enlarged or reduced as `frame` says; of `crop` only colour, mean, std and, for counting
    costs, the size of a 16:9 frame's input count. `codec` names a grouping (harness.grouping) with its options.
    """

    frame: FrameSpec = field(default_factory=lambda: FrameSpec(512))


class WholeFrameMethod(Protocol):
    """A network that maps whole frames to outputs its grouping makes persons of; a torch.nn.Module in practice."""

    def __call__(self, clips: torch.Tensor) -> Any:
        """(B,1,3,H,W) float32, normalised -> outputs of the grouping's form, for frames of any size."""


class Method(Protocol):
    """A network (or rule) that maps clips to outputs its codec understands; a torch.nn.Module in practice."""

    def __call__(self, clips: torch.Tensor) -> Any:
        """(B,T,3,H,W) float32, normalised -> outputs of the codec's form, e.g. heatmaps (B,J,h,w)."""


class Recurrent(Method, Protocol):
    """A method that carries maps along a track, so that it need not look at every frame of a clip again.

    `forward` is what it does without a past. The state is one tensor (B,...,h,w) of maps that lie in the crop of a box.
    """

    def begin(self, clips: torch.Tensor) -> torch.Tensor:
        """Whole clips (B,T,3,H,W) of people without a past -> the state they would have reached."""

    def carry(self, state: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """The state of another crop in this one; `moved` (B,2,3) maps cells of this crop to cells of the other."""

    def step(self, clips: torch.Tensor, state: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """The frames `recurrent` names (B,R,3,H,W) and the state -> outputs, and the state for the next frame."""


@dataclass(frozen=True)
class MethodCard:
    """Everything a table, a page or a reader wants to know of a method, and how to build it.

    `build(preset.options)` returns an untrained torch module; weights are loaded strictly by the harness. A method that
    is not trained by gradients has `fit(dataset)`, which returns the state dict learned from a train split. A method
    that a user's file describes has no presets but `read(path)`, which returns the card that the file makes; `file` is
    then where `build` finds the network with its weights. `recipes` name, for presets or beginnings of their names,
    the recipe by which they are trained unless told otherwise; "tiny" for those it leaves out. `layer_of` gives the
    layer of a parameter by its name, from the input, 0 first, and None above the last: for recipes with `layer_decay`.
    """

    name: str
    title: str
    summary: str
    presets: Mapping[str, Preset]
    build: Callable[[Mapping[str, Any]], Any]
    default_preset: str = "tiny"
    paper: str = ""
    year: int | None = None
    licence: str = ""
    skeleton: Skeleton = POSETRACK17
    published: tuple[Published, ...] = ()
    notes: str = ""
    fit: Callable[[DataSet], Mapping[str, torch.Tensor]] | None = None
    read: Callable[[Path], MethodCard] | None = None
    file: Path | None = None
    recipes: Mapping[str, str] = field(default_factory=dict)
    layer_of: Callable[[str], int | None] | None = None

    def recipe(self, preset: str) -> str:
        """Name of the recipe by which a preset is trained unless told otherwise."""
        known = [key for key in self.recipes if preset.startswith(key)]
        return self.recipes[max(known, key=len)] if known else "tiny"

    def preset(self, name: str | None) -> tuple[str, Preset]:
        """The named preset (None: the default) with its name; UsageError names the known ones."""
        chosen = name or self.default_preset
        if self.read is not None:
            raise UsageError(f"method '{self.name}' is described by a file; name it with --weights FILE.toml")
        if chosen not in self.presets:
            raise UsageError(f"method '{self.name}' has no preset '{chosen}'; it has {', '.join(self.presets)}")
        return chosen, self.presets[chosen]


methods: Registry[MethodCard] = Registry("method", before_lookup=load_plugins)


def card_of(name: str, weights: str | Path | None = None) -> MethodCard:
    """The card of a method by name; for one that a file describes, the card that `weights` makes."""
    card = methods[name]
    return card.read(Path(weights)) if card.read is not None and weights is not None else card


def register_method(card: MethodCard) -> MethodCard:
    """Make a method available by name on the command line and in the tests over every registered method."""
    return methods.add(card.name, card)
