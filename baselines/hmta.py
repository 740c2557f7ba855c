"""HMTA, hierarchical motion-aware temporal alignment: notes of an unpublished attempt, made runnable and testable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn.functional import cosine_similarity, log_softmax

from baselines.layers.hmta import HmtaNetwork, HmtaStates
from baselines.layers.hrnet import TINY as TINY_HRNET
from baselines.layers.transport import transport_loss
from baselines.layers.vitpose import BASE as BASE_VITPOSE
from baselines.layers.vitpose import TINY as TINY_VITPOSE
from harness.codecs import Targets
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.training.losses import Loss, StatesLoss, joint_mse, register_loss, spatial_cross_entropy

__all__ = ["ALIGNMENT_TERMS", "card", "constraint"]

_TEMPERATURE = 0.05


def _build(options: Mapping[str, Any]) -> HmtaNetwork:
    """The network of a preset, whose options are HmtaNetwork's own."""
    return HmtaNetwork(**options)


def _over_supports(states: HmtaStates, distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Mean distance of aligned features to the key's, through which no gradient goes."""
    return distance(states.aligned, states.key.detach()[None]).mean()


def _transport(states: HmtaStates, *, salient: bool = False, **options: Any) -> torch.Tensor:
    aligned = states.aligned.flatten(0, 1)
    key = states.key.repeat(len(states.aligned), 1, 1, 1)
    weight = states.mask.flatten(0, 1) if salient else None
    # points 16 px apart whatever the backbone: heatmaps have 4 px a cell, features of HRNet too, of a ViT 16
    pool = max(4 * key.shape[-1] // states.heatmaps.shape[-1], 1)
    return transport_loss(aligned, key, salient=weight, pool=pool, **options)


#: How far aligned features are from the key's: what an alignment loss may be (hmta spec 4.1).
ALIGNMENT_TERMS: dict[str, Callable[[HmtaStates], torch.Tensor]] = {
    "ot": _transport,
    "ot_salient": partial(_transport, salient=True),
    "ot_group_config": partial(_transport, epsilon=100.0, iterations=10),
    "l1": partial(_over_supports, distance=lambda one, other: (one - other).abs()),
    "l2": partial(_over_supports, distance=lambda one, other: (one - other).square()),
    "cosine": partial(_over_supports, distance=lambda one, other: 1 - cosine_similarity(one, other, dim=2)),
}


def constraint(targets: Targets, after: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """How much worse aligned features predict the key pose than unaligned ones did (hmta spec 4.2).

    Targets (B,J,h,w); `after`, `before` (S,B,J,h,w) what the backbone's head makes of supports after and before
    alignment. Only a loss counts, and no gradient goes to `before`.
    """
    log_p = log_softmax(targets.values.flatten(2) / _TEMPERATURE, dim=-1)
    shares = targets.weights / targets.weights.sum().clamp_min(1e-12)

    def divergence(maps: torch.Tensor) -> torch.Tensor:
        log_q = log_softmax(maps.float().flatten(3) / _TEMPERATURE, dim=-1)
        return ((log_p.exp() * (log_p - log_q)).sum(-1) * shares).sum((1, 2))

    return (divergence(after) - divergence(before.detach())).relu().mean()


def _with_alignment(heatmap_term: Loss, term: str, weight: float) -> StatesLoss:
    def loss(states: Any, targets: Targets) -> torch.Tensor:
        return heatmap_term(states.heatmaps, targets) + weight * ALIGNMENT_TERMS[term](states)

    return StatesLoss(loss)


def _with_constraint(heatmap_term: Loss) -> StatesLoss:
    def loss(states: Any, targets: Targets) -> torch.Tensor:
        aligned = 0.1 * _transport(states) + constraint(targets, states.read_aligned, states.read_supports)
        return heatmap_term(states.heatmaps, targets) + aligned

    return StatesLoss(loss)


# without an alignment term, joint_mse and spatial_cross_entropy are the same for comparison
for _name, _heatmap_term in (("hmta", joint_mse), ("hmta_cross_entropy", spatial_cross_entropy)):
    for _term in ALIGNMENT_TERMS:
        register_loss(
            f"{_name}_{_term}", _with_alignment(_heatmap_term, _term, 1.0 if _term == "ot_group_config" else 0.1)
        )
    register_loss(f"{_name}_ot_information", _with_constraint(_heatmap_term))

#: The key frame, then its neighbours in FAMI-Pose's order; at the ends of a video, as there.
_SUPPORT = (0, -2, -1, 1, 2)

_paper = Preset(
    crop=CropSpec(size=(288, 384)),
    codec="heatmap",
    codec_options={"sigma": 3.0},
    support=_SUPPORT,
    options={"backbone": {"width": 48}},
    ends="fami",
    ordered=False,
)
_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="heatmap",
    codec_options={"sigma": 1.5, "activation": "softmax"},
    support=_SUPPORT,
    options={"backbone": TINY_HRNET, "alignment": {"offset_groups": 2}},
    ordered=False,
)
_vit = Preset(
    crop=CropSpec(size=(192, 256)),
    codec="heatmap",
    codec_options={"sigma": 2.0},
    support=_SUPPORT,
    options={"network": "vitpose", "backbone": {"grid": (16, 12), **BASE_VITPOSE}},
    ends="fami",
    ordered=False,
)
_INNER = ("gate", "plain", "motion", "appearance", "bound", "pyramid")


def _switched(**options: Any) -> Preset:
    """The tiny preset with switches set; those of the alignment by their own names."""
    inner = {key: options.pop(key) for key in _INNER if key in options}
    base = dict(_tiny.options)
    ordered = options.get("gathering") == "concat"
    return replace(_tiny, options={**base, **options, "alignment": {**base["alignment"], **inner}}, ordered=ordered)


_NOTES = """\
Author-declared failure; no reference value. There is no paper, no code and no table: only working notes, whose author \
gave up on it. It stands here as a negative result under test. The one figure of the notes (one epoch of one run, set \
unnamed) is no result and is not listed.

What the notes say. Deformable alignment copes badly with large motion: limbs move, torsos hardly do, and the average \
motion helps neither. So the difference of two frames, pooled and cut by a learned threshold, splits the feature into \
what moves and what does not; both are aligned on their own, what moves in two steps (by motion, then by appearance), \
and optimal transport between aligned and key feature supervises the alignment. It kept scoring below its own \
backbone; the author suspected a first layer that loses information, and features that add up to too much.

What is done here. All that the notes leave open is our choice. The network starts exactly as its backbone: what \
neighbours add has a gain of 0, deformable convolutions start as the identity, and the 3x3 head starts as the \
backbone's. So a score below the backbone is learned, never a start. Nothing narrows the feature unless `channels` \
says so. `paper` (the name only means full size: there is no paper) has FAMI-Pose's backbone, input and frames, which \
makes FAMI-Pose its control. `vit-b` stands on ViTPose-B at 256x192 (768 channels at stride 16; the 1280 of the notes \
are those of a ViT-H); `vit-b-512` narrows it to 512 channels first, the layer the author suspected. The tiny-* \
presets each turn one switch: a fixed, hard or no split, the split made of pictures in place of features, gating of \
the support alone or of the offsets alone, no alignment of what stands still, no appearance step, offsets held within \
3 cells, offsets of two scales, other gathering, a feature cut to half its width, and a ViT in place of HRNet.

Losses: hmta_ot and others, with hmta_cross_entropy_* for quick learning. Train with `--start` from a checkpoint of \
the backbone (hrnet or vitpose, by any of ViTPose's names) and `--freeze backbone.`; `eval --also backbone` scores the \
backbone beside it. Which neighbour came first is not told, but by "concat". The oracle split, which is told by the \
labels where joints moved, is no preset, since nothing that reads labels may look like a result: `oracle_mask` in \
`baselines.layers.motion_split` makes the mask, and the network takes it as `network(clips, states=True, mask=...)`. \
No weights of the notes exist; those shipped for `tiny` were trained on the embedded data."""

card = register_method(
    MethodCard(
        name="hmta",
        title="HMTA",
        summary=(
            "Five frames; what moves and what stands still are aligned apart and added to the key frame's feature. "
            "Author-declared failure; no reference value."
        ),
        licence="from unpublished notes; this implementation Apache-2.0",
        presets={
            "tiny": replace(_tiny, weights="hmta-tiny"),
            "tiny-fixed-split": _switched(split="fixed"),
            "tiny-hard-split": _switched(split="hard"),
            "tiny-no-split": _switched(split="none"),
            "tiny-target-gate": _switched(gate="target_only"),
            "tiny-no-gate": _switched(gate="offsets_only"),
            "tiny-image-difference": _switched(difference="image"),
            "tiny-plain-identity": _switched(plain="identity"),
            "tiny-no-motion": _switched(motion=False),
            "tiny-no-appearance": _switched(appearance=False),
            "tiny-bounded": _switched(bound=3.0),
            "tiny-pyramid": _switched(pyramid=2),
            "tiny-concat": _switched(gathering="concat"),
            "tiny-attention": _switched(gathering="attention"),
            "tiny-narrow": _switched(channels=8),
            "tiny-not-residual": _switched(residual=False),
            "tiny-vit": _switched(network="vitpose", backbone=TINY_VITPOSE, channels=48),
            "paper": _paper,
            "vit-b": _vit,
            "vit-b-512": replace(_vit, options={**_vit.options, "channels": 512, "alignment": {"offset_groups": 16}}),
        },
        build=_build,
        recipes={"paper": "hmta"},
        notes=_NOTES,
    )
)
