"""PRTR (Li et al., CVPR 2021): a transformer answers which joint is where, of a crop or of persons it finds itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from baselines.layers.prtr import FrameAnswers, JointQueries, PersonQueries, Pyramid
from harness.methods import CropSpec, FrameSpec, MethodCard, Preset, WholeFramePreset, register_method
from harness.training.losses import StatesLoss, register_loss
from harness.training.set_losses import joint_set_loss
from harness.weights.sources import OFFICIAL, KeyMap

__all__ = ["Prtr", "PrtrEndToEnd", "card", "end_to_end"]


class Prtr(JointQueries):
    """The two-stage form on the only frame of a clip; its parameters are named as in the release.

    `backbone` are the options of a ResNet whose last stage of `stages` is read.
    """

    key_sources = (
        KeyMap("release of PRTR", (("backbone.0.body.", "backbone."),), wrapper=""),
        KeyMap("older release of PRTR", (("backbone.body.", "backbone."),), wrapper=""),
        OFFICIAL,
    )
    start_part = "backbone."

    def __init__(self, *, backbone: Mapping[str, Any], **options: Any) -> None:
        trunk = Pyramid(**backbone)
        super().__init__(trunk.widths[-1], **options)
        self.backbone = trunk

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """Checkpoints that fill the backbone (`start_part`)."""
        return self.backbone.start_sources

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor:
        """(B,1,3,H,W) -> (B,Q,J+3): logits, "none" last, then x, y in 0..1; of every layer (L,B,Q,J+3) as `states`."""
        answers = self.answers(self.backbone.maps(clips[:, 0])[-1])
        return answers if states else answers[-1]


class PrtrEndToEnd(nn.Module):
    """The end-to-end form on the whole frame that is a clip."""

    start_part = "backbone."

    def __init__(self, *, backbone: Mapping[str, Any], **options: Any) -> None:
        super().__init__()
        self.backbone = Pyramid(**backbone)
        self.people = PersonQueries(self.backbone.widths, **options)

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """Checkpoints that fill the backbone (`start_part`)."""
        return self.backbone.start_sources

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> FrameAnswers:
        """(B,1,3,H,W) -> persons and their joints. `states` changes nothing: all that a loss reads is there."""
        answers: FrameAnswers = self.people(self.backbone.maps(clips[:, 0]))
        return answers


def _build(options: Mapping[str, Any]) -> Prtr:
    """The two-stage network of a preset."""
    return Prtr(**options)


def _build_end_to_end(options: Mapping[str, Any]) -> PrtrEndToEnd:
    """The end-to-end network of a preset."""
    return PrtrEndToEnd(**options)


def _two_stage(depth: int, size: tuple[int, int]) -> Preset:
    return Preset(
        crop=CropSpec(size=size, colour="bgr"), codec="queries",
        options={"backbone": {"depth": depth, "stages": (4,)}}, flip_test=True,
    )  # fmt: skip


register_loss("joint_set", StatesLoss(joint_set_loss), form="queries")

_PAPER = "Li, Wang, Zhang, Xu, Tu: Pose Recognition with Cascade Transformers, CVPR 2021"
_LICENCE = "Apache-2.0 (original release); this implementation Apache-2.0"

_NOTES = """\
What the paper says. Joints can be recognised like objects by a transformer: queries answer for them, no heatmap is \
made.

What the released code does. A ResNet, six encoder and six decoder layers, 100 queries; each answers with a joint or \
"none" and a place, and is told which by matching. Joints are read out by the assignment of highest sum.

What we do. The transformer, the read-out and the losses are equal to the release's. ResNet checkpoints of the \
release load by --weights; its HRNet and deformable variants are not here. Images are read as BGR, as the release \
does for ResNet. In the release the batch normalisation of the ResNet is frozen; here it learns unless `--freeze \
backbone.`. Published on COCO val with DETR's boxes and flip test: 68.2 (ResNet-50, 384x288), 71.0 (512x384), 70.1 \
and 72.0 (ResNet-101). Nothing is published on PoseTrack. `tiny` is ours, for the embedded data, its ResNet begun \
with SimpleBaseline's there; its weights are shipped."""

card = register_method(
    MethodCard(
        name="prtr",
        title="PRTR",
        summary="One frame, a crop: queries to a transformer answer which joint is where, joints read by assignment.",
        paper=_PAPER,
        year=2021,
        licence=_LICENCE,
        presets={
            "tiny": Preset(
                weights="prtr-tiny",
                crop=CropSpec(size=(96, 128)),
                codec="queries",
                options={
                    "backbone": {"depth": 18, "width": 16, "stages": (3,)}, "queries": 34, "width": 96, "heads": 4,
                    "hidden": 192, "encoders": 2, "decoders": 3,
                },
            ),
            "res50-384x288": _two_stage(50, (288, 384)),
            "res50-512x384": _two_stage(50, (384, 512)),
            "res101-384x288": _two_stage(101, (288, 384)),
            "res101-512x384": _two_stage(101, (384, 512)),
        },
        build=_build,
        recipes={"tiny": "prtr-tiny", "res": "prtr"},
        notes=_NOTES,
    )
)  # fmt: skip

end_to_end = register_method(
    MethodCard(
        name="prtr_end_to_end",
        title="PRTR, end to end",
        summary="Whole frames, no boxes: a transformer finds persons, a second one asks each of them for its joints.",
        paper=_PAPER,
        year=2021,
        licence=_LICENCE,
        presets={
            "tiny": WholeFramePreset(
                weights="prtr_end_to_end-tiny",
                crop=CropSpec(size=(341, 192), enlarge=1.0),
                codec="person set",
                options={
                    "backbone": {"depth": 18, "width": 16, "stages": (2, 3)}, "people": 10, "queries": 24, "region": 7,
                    "width": 64, "heads": 4, "hidden": 128, "layers": 2,
                },
                frame=FrameSpec(192, rule="fit"),
            ),
            "res50-800": WholeFramePreset(
                crop=CropSpec(size=(1333, 750), enlarge=1.0),
                codec="person set",
                options={"backbone": {"depth": 50, "stages": (3, 4)}},
                frame=FrameSpec(800, rule="fit", longest_side=1333),
            ),
        },
        build=_build_end_to_end,
        recipes={"": "prtr_end_to_end-tiny"},
        notes=(
            "The original is an annotated notebook without weights, training or an input rule, and fails as printed; "
            "this is the design it describes, with its defects mended, equal to it where it runs. Input sizes are "
            "DETR's, from memory; sizes of the transformers are those of the two-stage form, our choice. No checkpoint "
            "of it exists. Its mirror image cannot be averaged with it: persons have no partners there. The weights of "
            "`tiny` are shipped, and undertrained: nine epochs, where such transformers take hundreds."
        ),
    )
)  # fmt: skip
