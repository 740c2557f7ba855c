"""PRTR: joints as answers to queries, of a crop (two-stage) or of a whole frame whose persons are found first.

Two-stage: seed002_rest.md 4. End-to-end ("sequential"): whole_frame.md 4, with the head on every person, boxes
flattened, and logits of "none" last as in the two-stage form; the original exists as an annotated notebook only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import grid_sample

from baselines.layers.query_transformer import Perceptron, QueryTransformer, sine_position
from baselines.layers.resnet import ResNet
from harness.weights.sources import KeyMap

__all__ = ["FrameAnswers", "JointQueries", "PersonJoints", "PersonQueries", "Pyramid"]

#: How much larger than the box the region is that a person is read from.
_ENLARGE = 1.25


class JointQueries(nn.Module):
    """Features (B,inputs,h,w) -> for every decoder layer (layers,B,Q,joints+3): logits, "none" last, and x, y in 0..1.

    Parameters are named as in the two-stage release.
    """

    def __init__(
        self,
        inputs: int,
        *,
        joints: int = 17,
        queries: int = 100,
        width: int = 256,
        heads: int = 8,
        hidden: int = 2048,
        encoders: int = 6,
        decoders: int = 6,
    ) -> None:
        super().__init__()
        self.transformer = QueryTransformer(width, heads=heads, hidden=hidden, encoders=encoders, decoders=decoders)
        self.class_embed = nn.Linear(width, joints + 1)
        self.kpt_embed = Perceptron(width, width, 2)
        self.query_embed = nn.Embedding(queries, width)
        self.input_proj = nn.Conv2d(inputs, width, 1)

    def answers(self, features: torch.Tensor) -> torch.Tensor:
        """(B,inputs,h,w) -> (layers,B,Q,joints+3)."""
        projected = self.input_proj(features)
        position = sine_position(features.shape[2], features.shape[3], projected.shape[1], device=features.device)
        answers = self.transformer(projected, position, self.query_embed.weight)
        return torch.cat([self.class_embed(answers), self.kpt_embed(answers).sigmoid()], dim=-1)


class PersonJoints(nn.Module):
    """Regions (N,inputs,r,r) and their position (1,C,r,r) -> (layers,N,Q,joints+3) relative to the enlarged box."""

    def __init__(self, inputs: int, *, joints: int, queries: int, width: int, heads: int, hidden: int, layers: int):
        super().__init__()
        self.query_embed = nn.Embedding(queries, width)
        self.input_proj = nn.Conv2d(inputs, width, 1)
        self.transformer = QueryTransformer(width, heads=heads, hidden=hidden, encoders=layers, decoders=layers)
        self.coord_predictor = Perceptron(width, width, 2)
        self.class_predictor = nn.Linear(width, joints + 1)

    def forward(self, regions: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """See the class."""
        answers = self.transformer(self.input_proj(regions), position, self.query_embed.weight)
        return torch.cat([self.class_predictor(answers), self.coord_predictor(answers).sigmoid()], dim=-1)


class FrameAnswers(NamedTuple):
    """What is said of frames: person logits (layers,B,P,2), "none" last; boxes (layers,B,P,4) as centre and size in
    0..1; joint logits (B,P,Q,J+1), "none" last, and places (B,P,Q,2) in 0..1 of the frame, of the last layer."""

    person_logits: torch.Tensor
    boxes: torch.Tensor
    joint_logits: torch.Tensor
    places: torch.Tensor


class PersonQueries(nn.Module):
    """Feature maps of a frame -> FrameAnswers: persons are found, cut out of the features, and asked for their joints.

    `channels` of the maps that are given; persons are found in the last one and cut out of those in `levels`. The
    transformer of the joints is twice as wide as that of the persons, for half of its positions are learned.
    """

    steps: torch.Tensor

    def __init__(
        self,
        channels: Sequence[int],
        *,
        joints: int = 17,
        people: int = 100,
        queries: int = 100,
        levels: Sequence[int] = (0, 1),
        region: int = 10,
        width: int = 256,
        heads: int = 8,
        hidden: int = 2048,
        layers: int = 6,
    ) -> None:
        super().__init__()
        self.levels, self.joints = tuple(levels), joints
        self.register_buffer("steps", torch.linspace(-_ENLARGE, _ENLARGE, region), persistent=False)
        self.transformer = QueryTransformer(width, heads=heads, hidden=hidden, encoders=layers, decoders=layers)
        self.class_embed = nn.Linear(width, 2)
        self.bbox_embed = Perceptron(width, width, 4)
        self.query_embed = nn.Embedding(people, width)
        self.input_proj = nn.Conv2d(channels[-1], width, 1)
        self.transformer_kpt = PersonJoints(
            sum(channels[level] for level in levels),
            joints=joints, queries=queries, width=2 * width, heads=heads, hidden=hidden, layers=layers,
        )  # fmt: skip
        self.row_embed = nn.Embedding(width // 2, region)
        self.col_embed = nn.Embedding(width // 2, region)

    def forward(
        self, maps: Sequence[torch.Tensor], *, padding: torch.Tensor | None = None, share: tuple[float, float] = (1, 1)
    ) -> FrameAnswers:
        """Maps (B,C,h,w) of falling resolution; `padding` (B,h,w) of the last is True where there is no image.

        `share` is the part of the maps' width and height that shows the image, which lies at the top left.
        """
        person_logits, boxes = self.persons(maps[-1], padding)
        answers = self.asked(maps, boxes[-1], share)
        count, people = boxes.shape[1:3]
        answers = answers.view(count, people, *answers.shape[1:])
        logits, relative = answers[..., :-2], answers[..., -2:]
        box = boxes[-1][:, :, None]
        places = ((2 * relative - 1) * (_ENLARGE / 2) * box[..., 2:] + box[..., :2]).clamp(0, 1)
        return FrameAnswers(person_logits, boxes, logits, places)

    def persons(self, last: torch.Tensor, padding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (layers,B,P,2) and boxes (layers,B,P,4) from the last map."""
        projected = self.input_proj(last)
        position = sine_position(last.shape[2], last.shape[3], projected.shape[1], device=last.device)
        answers = self.transformer(projected, position, self.query_embed.weight, padding)
        return self.class_embed(answers), self.bbox_embed(answers).sigmoid()

    def asked(self, maps: Sequence[torch.Tensor], boxes: torch.Tensor, share: tuple[float, float]) -> torch.Tensor:
        """(B P,Q,J+3) answers of the last layer for boxes (B,P,4)."""
        regions = self.regions(maps, boxes * boxes.new_tensor([*share, *share]))
        answers: torch.Tensor = self.transformer_kpt(regions, self.position)[-1]
        return answers

    def regions(self, maps: Sequence[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
        """(B P,C,r,r) features round each box (B,P,4) of 0..1 of the maps, enlarged; gradients reach the box."""
        centre, size = boxes[..., :2, None] * 2 - 1, boxes[..., 2:, None]
        x, y = (centre + size * self.steps).unbind(2)
        side = len(self.steps)
        grid = torch.stack([x[:, :, None, :].expand(-1, -1, side, -1), y[..., None].expand(-1, -1, -1, side)], dim=-1)
        count, people = boxes.shape[:2]
        stacked = grid.reshape(count, people * side, side, 2)
        read = [grid_sample(maps[level], stacked, padding_mode="border", align_corners=False) for level in self.levels]
        together = torch.cat(read, dim=1).view(count, -1, people, side, side)
        return together.transpose(1, 2).flatten(0, 1)

    @property
    def position(self) -> torch.Tensor:
        """(1,2C,r,r): fixed sines, then learned vectors of the row and of the column."""
        side = len(self.steps)
        fixed = sine_position(side, side, 2 * self.col_embed.num_embeddings, device=self.steps.device)
        rows = self.col_embed.weight[:, :, None].expand(-1, -1, side)
        columns = self.row_embed.weight[:, None, :].expand(-1, side, -1)
        return torch.cat([fixed, torch.cat([rows, columns])[None]], dim=1)


class Pyramid(ResNet):
    """Frames (B,3,H,W) -> feature maps of some `stages` (1-4) of a ResNet, at 1/4 ... 1/32; later ones are left out."""

    def __init__(self, depth: int, *, width: int = 64, stages: Sequence[int] = (3, 4)) -> None:
        super().__init__(depth, width=width)
        for stage in range(max(stages) + 1, 5):
            delattr(self, f"layer{stage}")
        self.stages = tuple(stages)
        first = self.channels // 8
        self.widths = [first * 2 ** (stage - 1) for stage in stages]

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """Checkpoints that a training may start from: any ResNet's of these sizes, whatever follows its stages."""
        return (KeyMap("a ResNet", wrapper="", unpack=self._own),)

    def _own(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What of a checkpoint belongs here; all of one that is no ResNet's."""
        parts = {name for name, _ in self.named_children()}
        return {key: value for key, value in state.items() if key.partition(".")[0] in parts} or dict(state)

    def maps(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of the stages."""
        features: torch.Tensor = self.maxpool(torch.relu_(self.bn1(self.conv1(frames))))
        found = []
        for stage in range(1, max(self.stages) + 1):
            features = getattr(self, f"layer{stage}")(features)
            if stage in self.stages:
                found.append(features)
        return found
