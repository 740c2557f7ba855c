"""FAMI-Pose (Liu et al., CVPR 2022): support features moved and calibrated to the key frame, then joined with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from baselines.layers.fami import PAPER, SUPPORT, TINY, FamiNetwork, FamiStates
from baselines.layers.mutual_information import Estimator, information_loss
from harness.codecs import Targets
from harness.methods import CropSpec, MethodCard, Preset, Published, register_method
from harness.training.losses import Loss, StatesLoss, joint_mse, register_loss, spatial_cross_entropy

__all__ = ["card", "fami_loss", "heatmap_mse"]


def _build(options: Mapping[str, Any]) -> FamiNetwork:
    """The network of a preset, whose options are FamiNetwork's own."""
    return FamiNetwork(**options)


def heatmap_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """The heatmap term of the release: HRNet's without the half (fami spec 3.1)."""
    return 2 * joint_mse(outputs, targets)


def fami_loss(states: FamiStates, targets: Targets, *, heatmap_term: Loss, estimator: Estimator) -> torch.Tensor:
    """Heatmap term plus the weighted six information terms (fami spec 3)."""
    return heatmap_term(states.heatmaps, targets) + information_loss(states.evidence, estimator=estimator)


def _with_information(heatmap_term: Loss, estimator: Estimator) -> StatesLoss:
    def loss(states: Any, targets: Targets) -> torch.Tensor:
        return fami_loss(states, targets, heatmap_term=heatmap_term, estimator=estimator)

    return StatesLoss(loss)


# `fami_off` and spatial_cross_entropy are the same without information, for comparison
register_loss("fami_off", heatmap_mse)
register_loss("fami_released", _with_information(heatmap_mse, "released"))
register_loss("fami_kl", _with_information(heatmap_mse, "kl"))
register_loss("fami_cross_entropy_released", _with_information(spatial_cross_entropy, "released"))
register_loss("fami_cross_entropy_kl", _with_information(spatial_cross_entropy, "kl"))

_paper = Preset(
    crop=CropSpec(size=(288, 384), geometry="dark"),
    codec="heatmap",
    codec_options={"sigma": 3.0},
    support=SUPPORT,
    options=PAPER,
    ends="fami",
)
_tiny = Preset(
    crop=CropSpec(size=(96, 128)),
    codec="heatmap",
    codec_options={"sigma": 1.5, "activation": "softmax"},
    support=SUPPORT,
    options=TINY,
)


def _affine(preset: Preset) -> Preset:
    return replace(preset, options={**preset.options, "affine": True})


_NOTES = """\
What the paper says. A global affine transformation brings every support frame's feature near the key frame's, a local \
calibration by deformable convolutions does the rest cell by cell, and training maximises the mutual information \
between the joined feature and the pose beyond what the key frame knows.

What the released code does. The transformation is a translation, read in feature cells from the difference of two \
maps and not bounded; three linear layers follow each other without activation. The four moved supports are merged \
first and the local step runs once, on the merged map: four deformable convolutions in a row with raw modulation, \
which starts near 0, so that the temporal path starts dead. The information terms hand a KL routine a probability in \
place of a log-probability, use the prediction where the label is meant, count one term twice, and give NaN gradients \
once a map is sharp. Crops are cut by one convention (corner centres) and read by another (sides), -0.125 heatmap px \
apart. Before the start of a video the key frame stands beside the key frame; after its end the last frame is \
repeated. The backbone is frozen, but its batch norms go on learning. The release does not run as it is, so no \
published number was made by exactly this code.

What we do. `paper` is the release: from the backbone's features on it is equal within 1e-5 of the heatmaps' spread; \
in training, one batch norm pass sees all supports where the release has one pass for each. 64.66 M parameters, of \
which 1.06 M learn; 184 G multiply-adds a person, 96 % of them in five passes of the backbone. `paper-clamp` takes the \
nearest frame at the ends of a video, `paper-consistent` one crop convention (both with the same weights), \
`paper-affine` a full affine motion about the middle of the map. Losses: fami_released, fami_kl (a true divergence \
with its sign turned, a mean over cells like the rest) and fami_off; or, learning in minutes, \
fami_cross_entropy_released, fami_cross_entropy_kl and spatial_cross_entropy. None gives NaN. Train with `--start \
HRNET --freeze backbone.`: its batch norms then keep their statistics. `tiny` is ours, for the embedded data, with \
modulation starting at 1; on real video it is low. Its shipped weights are 500 steps of 16 clips by spatial cross \
entropy on the frozen backbone hrnet-tiny-backbone; every shipped tiny network had about as much time.

The release's weights are not published, and which HRNet it starts from is not known. Evaluated without flip test, on \
boxes scored at least 0.2. An unreviewed re-run by others got 82.2 on PoseTrack17 val."""


def _table(dataset: str, split: str, percents: str, source: str) -> Published:
    return Published.row(dataset, split, percents, f"B: {source}, HRNet-W48, 5 frames")


_DIFFUSION, _SURVEY = "DiffusionPose (AAAI 2026) table", "ACM CSUR survey of deep pose estimation, table 4"

card = register_method(
    MethodCard(
        name="fami",
        title="FAMI-Pose",
        summary=(
            "Five frames; support features are moved as a whole, then calibrated by deformable convolutions, and "
            "joined with the key frame's; trained with mutual-information terms."
        ),
        paper=(
            "Liu, Feng, Chen, Wu, Gao, Gao, Wang: Temporal Feature Alignment and Mutual Information Maximization for "
            "Video-Based Human Pose Estimation, CVPR 2022"
        ),
        year=2022,
        licence="none stated by the original release (all rights reserved); this implementation Apache-2.0",
        presets={
            "tiny": replace(_tiny, weights="fami-tiny"),
            "tiny-affine": _affine(_tiny),
            "paper": _paper,
            "paper-clamp": replace(_paper, ends="clamp"),
            "paper-consistent": replace(_paper, crop=CropSpec(size=(288, 384))),
            "paper-affine": _affine(_paper),
        },
        build=_build,
        recipes={"paper": "fami"},
        published=(
            _table("posetrack17", "val", "89.6 90.1 86.3 80.0 84.6 83.4 77.0 84.8", f"{_DIFFUSION} 1"),
            _table("posetrack17", "test", "86.1 86.1 81.8 77.4 79.5 79.1 73.6 80.9", _SURVEY),
            _table("posetrack18", "val", "85.5 87.7 84.2 79.2 81.4 81.1 74.9 82.2", f"{_DIFFUSION} 2"),
            _table("posetrack18", "test", "83.6 84.5 81.4 77.9 76.8 78.3 72.9 79.6", _SURVEY),
            _table("posetrack21", "val", "83.3 85.4 82.9 78.6 81.3 80.5 75.3 81.2", f"{_DIFFUSION} 3"),
        ),
        notes=_NOTES,
    )
)
