"""FAMI-Pose with SimCC heads: its heatmaps read by two linear layers, as bins of x and of y (a note's variant)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from baselines.layers.fami import PAPER, SUPPORT, TINY, FamiNetwork, FamiStates
from baselines.layers.mutual_information import Estimator, information_loss
from harness.codecs import Targets
from harness.methods import CropSpec, MethodCard, Preset, register_method
from harness.training.bin_losses import AxisLoss, bin_cross_entropy, bin_divergence
from harness.training.losses import Loss, StatesLoss, joint_mse, register_loss, spatial_cross_entropy

__all__ = ["FamiSimcc", "FamiSimccStates", "card", "simcc_loss"]


class FamiSimccStates(NamedTuple):
    """Logits `along_x` (B,J,X) and `along_y` (B,J,Y), and the states of the network below, whose heatmaps they read."""

    along_x: torch.Tensor
    along_y: torch.Tensor
    network: FamiStates


class FamiSimcc(FamiNetwork):
    """Clips (B,5,3,H,W), key frame first -> (B,J,X+Y+h*w): logits of x and of y, then the heatmap row by row.

    `grid` (h,w) and the other options are FamiNetwork's; `split` bins for each input px, of which a cell has four.
    """

    def __init__(self, *, grid: tuple[int, int], split: float = 1.5, **network: Any) -> None:
        super().__init__(grid=grid, **network)
        cells = grid[0] * grid[1]
        self.mlp_head_x = nn.Linear(cells, int(4 * grid[1] * split))
        self.mlp_head_y = nn.Linear(cells, int(4 * grid[0] * split))
        nn.init.zeros_(self.mlp_head_x.bias)
        nn.init.zeros_(self.mlp_head_y.bias)

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> Any:
        """(B,5,3,H,W) -> (B,J,X+Y+h*w), or all the states."""
        network = super().forward(clips, states=states)
        heatmaps = network.heatmaps if isinstance(network, FamiStates) else network
        vectors = heatmaps.flatten(2)
        along_x, along_y = self.mlp_head_x(vectors), self.mlp_head_y(vectors)
        if isinstance(network, FamiStates):
            return FamiSimccStates(along_x, along_y, network)
        return torch.cat((along_x, along_y, vectors), dim=-1)

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs, and the heatmaps of the backbone for the key frame, from one pass."""
        heatmaps, backbone = super().with_backbone(clips)
        vectors = heatmaps.flatten(2)
        return torch.cat((self.mlp_head_x(vectors), self.mlp_head_y(vectors), vectors), dim=-1), backbone


def _build(options: Mapping[str, Any]) -> FamiSimcc:
    """The network of a preset, whose options are FamiSimcc's own."""
    return FamiSimcc(**options)


def simcc_loss(
    states: FamiSimccStates,
    targets: Targets,
    *,
    heatmap_term: Loss | None,
    estimator: Estimator | None,
    bin_term: AxisLoss = bin_divergence,
) -> torch.Tensor:
    """Bin term of both axes, plus heatmap term and information terms where wanted (fami_simcc spec 3)."""
    heatmaps = states.network.heatmaps
    labels_x, labels_y, maps = targets.values.split(targets.sections, dim=-1)
    loss = bin_term(states.along_x, labels_x, targets.weights) + bin_term(states.along_y, labels_y, targets.weights)
    if heatmap_term is not None:
        loss = loss + heatmap_term(heatmaps, Targets(maps.view_as(heatmaps), targets.weights))
    if estimator is not None:
        loss = loss + information_loss(states.network.evidence, estimator=estimator)
    return loss


def _released_mse(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """FAMI-Pose's heatmap term: HRNet's without the half."""
    return 2 * joint_mse(outputs, targets)


def _register(name: str, heatmap_term: Loss | None, bin_term: AxisLoss = bin_divergence) -> None:
    """The losses fami_simcc_NAME_off, _released and _kl, which differ in the information terms."""

    def variant(estimator: Estimator | None) -> StatesLoss:
        def loss(states: Any, targets: Targets) -> torch.Tensor:
            return simcc_loss(states, targets, heatmap_term=heatmap_term, estimator=estimator, bin_term=bin_term)

        return StatesLoss(loss)

    register_loss(f"fami_simcc_{name}_off", variant(None))
    register_loss(f"fami_simcc_{name}_released", variant("released"))
    register_loss(f"fami_simcc_{name}_kl", variant("kl"))


_register("residual", _released_mse)
_register("cross_entropy", spatial_cross_entropy, bin_cross_entropy)
_register("replace", None)


def _paper(split: float, *, codec: str = "simcc_maps") -> Preset:
    return Preset(
        crop=CropSpec(size=(288, 384), geometry="dark"),
        codec=codec,
        codec_options={"split": split, "sigma": 4.0, "map_sigma": 3.0},
        support=SUPPORT,
        options={**PAPER, "split": split},
        ends="fami",
    )


def _tiny(split: float, *, codec: str = "simcc_maps") -> Preset:
    return Preset(
        crop=CropSpec(size=(96, 128)),
        codec=codec,
        codec_options={"split": split, "sigma": 4.0, "map_sigma": 1.5, "activation": "softmax"},
        support=SUPPORT,
        options={**TINY, "split": split},
    )


_NOTES = """\
What the note says. A course report puts SimCC heads, two linear layers shared by the joints, on FAMI-Pose's heatmaps, \
keeps the information terms ("residual module") and reports PoseTrack17 val, one run each: 82.2 for its own run of \
FAMI-Pose (2.6 below the published one) and 81.6 with the heads; ankles lose 2.5, knees 1.5, hips gain 0.6. Its own \
reading is "slightly worse"; ours: no gain, and the joints far from the trunk lose.

What it leaves open, and we choose. Bins for each px: 1.5, as SimCC's own 384x288 model (`paper-k1`, -k2, -k3 for the \
sweep; k = 1 shows what quantisation alone costs). Labels: Gaussian, sigma 4 bins. Three modes. `residual` (losses \
fami_simcc_residual_*): divergence of the bins + heatmap MSE + information terms, joints from the bins. `replace` \
(fami_simcc_replace_*): without the MSE. `heatmap_aux`: trained as residual, read from the heatmap (preset \
`paper-heatmap-aux`, or --codec simcc_maps_peak). The ends _released, _kl and _off name the information terms; \
fami_simcc_cross_entropy_* has cross-entropy for the MSE and the divergence, and learns in minutes, as `tiny` wants.

Scores. A softmax over hundreds of bins peaks near 0.1 and poseval sorts all people by score, so report both: the \
smaller maximum of the two axes as SimCC has it, and the heatmap's value at the joint (--codec simcc_maps_score).

Size. The heads add 6.97 M parameters to 64.66 M (k = 1.5; 9.29 M at k = 2), 6.6 times what FAMI-Pose trains: that \
SimCC is lighter does not hold here, where the heatmap head has no deconvolutions.

No code and no weights were published; the report is unreviewed, so its table is not among published numbers. \
The weights shipped for `tiny` were trained on the embedded data."""

card = register_method(
    MethodCard(
        name="fami_simcc",
        title="FAMI-Pose with SimCC heads",
        summary="FAMI-Pose whose heatmaps are read by linear layers as bins of x and y; asks if they can be replaced.",
        paper="an unreviewed course report; FAMI-Pose: Liu et al., CVPR 2022; SimCC: Li et al., ECCV 2022",
        licence="no code was published; this implementation Apache-2.0",
        presets={
            "tiny": replace(_tiny(2.0), weights="fami_simcc-tiny"),
            "tiny-k1": _tiny(1.0),
            "tiny-heatmap-aux": replace(_tiny(2.0, codec="simcc_maps_peak"), weights="fami_simcc-tiny"),
            "paper": _paper(1.5),
            "paper-k1": _paper(1.0),
            "paper-k2": _paper(2.0),
            "paper-k3": _paper(3.0),
            "paper-heatmap-aux": _paper(1.5, codec="simcc_maps_peak"),
        },
        build=_build,
        recipes={"tiny": "fami_simcc-tiny", "paper": "fami_simcc"},
        notes=_NOTES,
    )
)
