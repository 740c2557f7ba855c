"""A transformer whose decoder asks an image with learned queries, as in DETR (seed002_rest.md 4.1, whole_frame.md 4).

Names of parameters are those of the official release.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import nn

__all__ = ["Perceptron", "QueryTransformer", "sine_position"]


class Perceptron(nn.Module):
    """(...,inputs) -> (...,outputs) through `depth` linear layers with ReLU between."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int = 3) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(...,inputs) -> (...,outputs)."""
        for layer in self.layers[:-1]:
            features = torch.relu(layer(features))
        last: torch.Tensor = self.layers[-1](features)
        return last


class QueryTransformer(nn.Module):
    """Features (B,C,h,w) and queries (Q,C) -> what every decoder layer makes of the queries, (layers,B,Q,C).

    Positions are added to queries and keys of every attention, not to values. All decoder outputs pass one shared norm.
    """

    def __init__(self, width: int, *, heads: int = 8, hidden: int = 2048, encoders: int = 6, decoders: int = 6) -> None:
        super().__init__()
        self.encoder = _Layers(_Encoder(width, heads, hidden) for _ in range(encoders))
        self.decoder = _NormedLayers((_Decoder(width, heads, hidden) for _ in range(decoders)), width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        features: torch.Tensor,
        position: torch.Tensor,
        queries: torch.Tensor,
        padding: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`position` (1 or B,C,h,w); `padding` (B,h,w) bool is True where there is no image."""
        count = len(features)
        memory, place = features.flatten(2).mT, position.flatten(2).mT
        ignored = None if padding is None else padding.flatten(1)
        for layer in self.encoder.layers:
            memory = layer(memory, place, ignored)
        asked = queries.expand(count, -1, -1)
        answer, answers = torch.zeros_like(asked), []
        for layer in self.decoder.layers:
            answer = layer(answer, asked, memory, place, ignored)
            answers.append(self.decoder.norm(answer))
        return torch.stack(answers)


class _Layers(nn.Module):
    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class _NormedLayers(_Layers):
    def __init__(self, layers: Iterable[nn.Module], width: int) -> None:
        super().__init__(layers)
        self.norm = nn.LayerNorm(width)


class _Encoder(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, memory: torch.Tensor, place: torch.Tensor, ignored: torch.Tensor | None) -> torch.Tensor:
        key = memory + place
        memory = self.norm1(memory + _attend(self.self_attn, key, key, memory, ignored))
        memory = self.norm2(memory + self.linear2(torch.relu(self.linear1(memory))))
        return memory


class _Decoder(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self,
        answer: torch.Tensor,
        asked: torch.Tensor,
        memory: torch.Tensor,
        place: torch.Tensor,
        ignored: torch.Tensor | None,
    ) -> torch.Tensor:
        key = answer + asked
        answer = self.norm1(answer + _attend(self.self_attn, key, key, answer))
        answer = self.norm2(answer + _attend(self.multihead_attn, answer + asked, memory + place, memory, ignored))
        answer = self.norm3(answer + self.linear2(torch.relu(self.linear1(answer))))
        return answer


def _attend(
    attention: nn.MultiheadAttention,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    ignored: torch.Tensor | None = None,
) -> torch.Tensor:
    found: torch.Tensor = attention(query, key, value, key_padding_mask=ignored, need_weights=False)[0]
    return found


def sine_position(height: int, width: int, channels: int, *, device: torch.device | None = None) -> torch.Tensor:
    """(1,channels,height,width): sines and cosines of y, then of x, each counted from 1 and ending at 2 pi."""
    half = channels // 2
    steps = torch.arange(half, device=device)
    frequency = 10000 ** (2 * torch.div(steps, 2, rounding_mode="floor") / half)
    waves = []
    for length in (height, width):
        places = torch.arange(1, length + 1, device=device) / (length + 1e-6) * 2 * math.pi
        angles = places[:, None] / frequency
        waves.append(torch.where(steps % 2 == 0, angles.sin(), angles.cos()).T)
    rows = waves[0][:, :, None].expand(half, height, width)
    columns = waves[1][:, None, :].expand(half, height, width)
    return torch.cat([rows, columns])[None]
