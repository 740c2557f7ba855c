"""The dual-stream network up to its heatmaps (dual_stream spec 3): a visual stream and one without the key frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from baselines.layers.space_time import Encoded, Masking, SpaceTimeEncoder, hide
from baselines.layers.stream_fusion import Fusion, StreamFusion
from baselines.layers.vit import CrossBlock, norm, normal, reset
from baselines.layers.vit_decoders import Decoder, make_decoder
from baselines.layers.vitpose import VitposeNetwork
from harness.errors import UsageError
from harness.weights import KeyMap

__all__ = ["DualStreamNetwork", "DualStreamStates", "Reading", "Streams"]

Streams = Literal["both", "temporal_only", "visual_only"]

#: Which of the heatmaps is the answer; `token` and `dense` never see the key frame.
Reading = Literal["final", "visual", "token", "dense"]

_NEIGHBOURS = 4
_KEY = 2
_STRIDE = 4


class DualStreamStates(NamedTuple):
    """What training and analysis look at; None where a switch leaves it out or no key frame was given.

    Heatmaps (B,J,4h,4w): the answer, `final`, `token`, `visual` and `backbone` (the key frame's own); `dense`
    (B,F,J,4h,4w), one for each neighbour. `reconstruction` and `patches` (B,h*w,768): the key frame in its patches, as
    guessed from the neighbours and as it is.
    """

    heatmaps: torch.Tensor
    final: torch.Tensor | None
    token: torch.Tensor | None
    dense: torch.Tensor | None
    visual: torch.Tensor | None
    backbone: torch.Tensor | None
    reconstruction: torch.Tensor | None
    patches: torch.Tensor | None


class DualStreamNetwork(nn.Module):
    """Clips (B,5,3,16h,16w) in time order, or (B,4,...) without the key frame -> heatmaps (B,J,4h,4w).

    `backbone` are VitposeNetwork's options; its decoder is the visual stream's. `joint`, `divided`, `cross` count
    blocks. Switches: `tokens`, `dense`, `reconstruction` (with the contextual tokens that only it reads); `average`
    makes one frame of the neighbours before tokens attend; `attend` the neighbours' mean or all of them in the visual
    stream; `fusion`, `streams`, `masking`. `reading` says which heatmaps are the answer.
    """

    key_sources = (KeyMap("our names"),)
    start_part = "backbone."

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any],
        joint: int = 2,
        divided: int = 2,
        cross: int = 2,
        tokens: bool = True,
        dense: bool = True,
        reconstruction: bool = True,
        average: bool = False,
        attend: Literal["mean", "all"] = "mean",
        fusion: Fusion = "concat",
        streams: Streams = "both",
        masking: Masking = "none",
        reading: Reading = "final",
    ) -> None:
        super().__init__()
        _check(reading, streams, tokens=tokens, dense=dense)
        self.average, self.attend, self.masking, self.reading = average, attend, masking, reading
        self.backbone = VitposeNetwork(**backbone)
        encoder = self.backbone.backbone
        width, heads, places = encoder.width, encoder.heads, encoder.grid[0] * encoder.grid[1]
        joints = self.backbone.keypoint_head.final_layer.out_channels
        temporal, visual = streams != "visual_only", streams != "temporal_only"
        self.time = normal(_NEIGHBOURS, width) if temporal or attend == "all" else None
        self.encoder = (
            SpaceTimeEncoder(
                width, heads=heads, places=places, joints=joints if tokens else 0, context=reconstruction,
                joint=joint, divided=divided,
            )
            if temporal else None
        )  # fmt: skip
        self.mask = normal(width) if temporal and masking != "none" else None
        cells = _STRIDE**2 * places
        self.token_head = nn.Sequential(norm(width), nn.Linear(width, cells)) if temporal and tokens else None
        self.reconstruct = nn.Linear(width, _patch_size()) if temporal and reconstruction else None
        self.cross = nn.ModuleList(CrossBlock(width, heads=heads) for _ in range(cross)) if visual else None
        self.fuse = StreamFusion(width, heads=heads, fusion=fusion) if temporal and visual else None
        kind, decoder_width = _decoder_of(backbone)
        self.dense = make_decoder(kind, width, joints, width=decoder_width) if temporal and dense else None
        self.final = make_decoder(kind, width, joints, width=decoder_width) if temporal else None
        for part in (self.token_head, self.reconstruct, self.cross, self.fuse):
            if part is not None:
                reset(part)

    @property
    def start_sources(self) -> tuple[KeyMap, ...]:
        """Checkpoints that fill the backbone (`start_part`)."""
        return self.backbone.start_sources

    def on_start(self, filled: Collection[str]) -> None:
        """After a start from a whole ViTPose, decoders that were not filled are as its own."""
        if "backbone.keypoint_head.final_layer.weight" not in filled:
            return
        for name, decoder in (("dense", self.dense), ("final", self.final)):
            if decoder is not None and f"{name}.final_layer.weight" not in filled:
                decoder.load_state_dict(self.backbone.keypoint_head.state_dict())

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor | DualStreamStates:
        """(B,5,3,16h,16w) or (B,4,...) without key frame -> heatmaps (B,J,4h,4w), or all the states."""
        key, neighbours = self._tokens(clips)
        if not states:
            return self._answer(key, neighbours)
        found, encoded = self._found(key, neighbours, ("final", "visual", "token", "dense"))
        return DualStreamStates(
            self._read_from(found), found["final"], found["token"], found["dense"], found["visual"],
            None if key is None else self.backbone.read(key), self._reconstruction(encoded),
            None if key is None else as_patches(clips[:, _KEY], self.backbone.backbone.grid),
        )  # fmt: skip

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips with the key frame -> the heatmaps, and those of the backbone for the key frame, from one pass."""
        key, neighbours = self._tokens(clips)
        if key is None:
            raise UsageError("the dual-stream network has no backbone's heatmaps of clips without a key frame")
        return self._answer(key, neighbours), self.backbone.read(key)

    def _tokens(self, clips: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """What the backbone makes of the key frame (B,N,C), None where there is none, and of neighbours (B,4,N,C)."""
        return _apart(self.backbone.backbone(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]))

    def _answer(self, key: torch.Tensor | None, neighbours: torch.Tensor) -> torch.Tensor:
        return self._read_from(self._found(key, neighbours, (self.reading,))[0])

    def _read_from(self, found: Mapping[str, torch.Tensor | None]) -> torch.Tensor:
        """Those heatmaps (B,J,4h,4w) that are the answer."""
        answer = found[self.reading]
        if answer is None:
            raise UsageError(f"the dual-stream network cannot read '{self.reading}' from clips without a key frame")
        return answer.mean(1) if self.reading == "dense" else answer

    def _found(
        self, key: torch.Tensor | None, neighbours: torch.Tensor, wanted: Collection[str]
    ) -> tuple[dict[str, torch.Tensor | None], Encoded | None]:
        """The wanted heatmaps by name, and what the stream without the key frame encoded."""
        encoded = self._encode(neighbours)
        dense = self._each(encoded) if "final" in wanted or "dense" in wanted else None
        enhanced = self._enhance(key, neighbours) if "final" in wanted or "visual" in wanted else None
        found: dict[str, torch.Tensor | None] = {
            "final": self._final(dense, enhanced) if "final" in wanted else None,
            "visual": self.backbone.read(enhanced) if "visual" in wanted and enhanced is not None else None,
            "token": self._token(encoded) if "token" in wanted else None,
            "dense": self._dense(dense) if "dense" in wanted else None,
        }
        return found, encoded

    def _encode(self, neighbours: torch.Tensor) -> Encoded | None:
        if self.encoder is None or self.time is None:
            return None
        if self.training and self.mask is not None:
            grid = self.backbone.backbone.grid
            neighbours = hide(neighbours, self.mask, grid=grid, masking=self.masking)
        frames = neighbours + self.time[:, None]
        encoded: Encoded = self.encoder(frames.mean(1, keepdim=True) if self.average else frames)
        return encoded

    def _each(self, encoded: Encoded | None) -> torch.Tensor | None:
        """What every neighbour says of the key frame (B,F,N,C): itself and the mean of the keypoint tokens."""
        if encoded is None:
            return None
        if not encoded.keypoints.shape[1]:
            return encoded.frames
        return encoded.frames + encoded.keypoints.mean(1)[:, None, None]

    def _enhance(self, key: torch.Tensor | None, neighbours: torch.Tensor) -> torch.Tensor | None:
        """The key frame's tokens (B,N,C) after they attended the neighbours."""
        if key is None or self.cross is None:
            return None
        if self.attend == "mean":
            others = neighbours.mean(1)
        else:
            assert self.time is not None  # noqa: S101
            others = (neighbours + self.time[:, None]).flatten(1, 2)
        for block in self.cross:
            key = block(key, others)
        return key

    def _final(self, each: torch.Tensor | None, enhanced: torch.Tensor | None) -> torch.Tensor | None:
        if each is None or self.final is None:
            return None if enhanced is None else self.backbone.read(enhanced)
        said = each.mean(1)
        if self.fuse is not None:
            if enhanced is None:
                return None
            said = self.fuse(said, enhanced)
        heatmaps: torch.Tensor = self.final(self.backbone.backbone.as_maps(said))
        return heatmaps

    def _token(self, encoded: Encoded | None) -> torch.Tensor | None:
        if encoded is None or self.token_head is None:
            return None
        height, width = self.backbone.backbone.grid
        heatmaps: torch.Tensor = self.token_head(encoded.keypoints)
        return torch.unflatten(heatmaps, 2, (_STRIDE * height, _STRIDE * width))

    def _dense(self, each: torch.Tensor | None) -> torch.Tensor | None:
        if each is None or self.dense is None:
            return None
        heatmaps: torch.Tensor = self.dense(self.backbone.backbone.as_maps(each.flatten(0, 1)))
        return torch.unflatten(heatmaps, 0, each.shape[:2])

    def _reconstruction(self, encoded: Encoded | None) -> torch.Tensor | None:
        if encoded is None or self.reconstruct is None:
            return None
        patches: torch.Tensor = self.reconstruct(encoded.context)
        return patches


def as_patches(images: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Images (B,3,16h,16w) -> patches (B,h*w,768), row by row, in a patch too, colours last.

    >>> as_patches(torch.arange(3 * 32 * 16.0).view(1, 3, 32, 16), (2, 1))[0, 1, :4].tolist()
    [256.0, 768.0, 1280.0, 257.0]
    """
    height, width = grid
    cut = torch.unflatten(torch.unflatten(images, 3, (width, -1)), 2, (height, -1))  # (B,3,h,16,w,16)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def _apart(features: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Key frame (B,N,C), None where there is none, and neighbours (B,4,N,C)."""
    if features.shape[1] == _NEIGHBOURS:
        return None, features
    return features[:, _KEY], torch.cat((features[:, :_KEY], features[:, _KEY + 1 :]), dim=1)


def _patch_size() -> int:
    return 16 * 16 * 3


def _decoder_of(backbone: Mapping[str, Any]) -> tuple[Decoder, int]:
    return backbone.get("decoder", "classic"), backbone.get("decoder_width", 256)


def _check(reading: Reading, streams: Streams, *, tokens: bool, dense: bool) -> None:
    """UsageError where what is to be read is switched off."""
    there = {
        "final": True,
        "visual": streams != "temporal_only",
        "token": tokens and streams != "visual_only",
        "dense": dense and streams != "visual_only",
    }
    if not there[reading]:
        raise UsageError(f"the dual-stream network cannot read '{reading}': the switches leave it out")
