"""Losses of sets: queries are matched with what is there first, and told what they should have said then."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import cross_entropy

from harness.codecs import Targets
from harness.training.frame_losses import register_frame_loss
from harness.training.frame_targets import FrameTargets

__all__ = ["joint_set_loss", "match_joints", "person_set_loss"]

#: Weight of places against classes, in the matching and in the loss, and of the class "none" (seed002_rest.md 4.2).
_PLACES, _NONE = 5.0, 0.1


def match_joints(answers: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(B,J) query that each joint is told to: answers (B,Q,J+3), places (B,J,2) in 0..1; every joint gets one."""
    with torch.no_grad():
        chances = answers[..., :-2].softmax(-1)[..., :-1]
        cost = _PLACES * torch.cdist(answers[..., -2:], wanted, p=1) - chances
    found = np.stack([linear_sum_assignment(each.T)[1] for each in cost.double().cpu().numpy()])
    return torch.from_numpy(found).to(answers.device)


def joint_set_loss(answers: torch.Tensor, targets: Targets) -> torch.Tensor:
    """PRTR's, over all decoder layers: answers (L,B,Q,J+3) and places (B,J,2) in 0..1 with weights (B,J)."""
    return torch.stack([_of_layer(layer, targets.values, targets.weights) for layer in answers]).sum()


def _of_layer(answers: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    classes, places = layer_terms(answers, wanted, weights)
    return classes + _PLACES * places


def layer_terms(
    answers: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy over all queries, and J times the mean distance of the matched ones along an axis."""
    joints = wanted.shape[1]
    queries = match_joints(answers, wanted)
    rows = torch.arange(len(answers), device=answers.device)[:, None]
    labels = torch.full(answers.shape[:2], joints, device=answers.device)
    labels[rows, queries] = torch.arange(joints, device=answers.device).expand_as(queries)
    balance = answers.new_ones(joints + 1)
    balance[-1] = _NONE
    classes = cross_entropy(answers[..., :-2].transpose(1, 2), labels, balance)
    distance = (answers[..., -2:][rows, queries] - wanted).abs() * weights[..., None]
    return classes, distance.mean() * joints


def person_set_loss(outputs: Any, targets: FrameTargets) -> torch.Tensor:
    """The end-to-end form's, ours: boxes of persons are matched and told in every layer, joints of the matched ones.

    Cost and loss of a box are 5 x L1 of centre and size, in 0..1, and its class; a box is the joints' extent.
    """
    size = targets.joints.new_tensor(targets.size)
    people = [
        (joints[known.any(-1)] / size, known[known.any(-1)])
        for joints, known in zip(targets.joints, targets.known, strict=True)
    ]
    boxes = [_boxes(joints, known) for joints, known in people]
    total: torch.Tensor = outputs.boxes.new_zeros(())
    for logits, found in zip(outputs.person_logits, outputs.boxes, strict=True):
        matches = [_match_people(*parts) for parts in zip(logits, found, boxes, strict=True)]
        total = total + _person_terms(logits, found, boxes, matches)
    terms = [
        _of_person(outputs.joint_logits[frame, query], outputs.places[frame, query], joints[row], known[row], box[row])
        for frame, ((joints, known), box, match) in enumerate(zip(people, boxes, matches, strict=True))
        for query, row in match
    ]
    return total + (torch.stack(terms).mean() if terms else 0.0)


def _boxes(joints: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(P,4) centre and size of the known joints (P,J,2)."""
    low = torch.where(known[..., None], joints, torch.inf).amin(1)
    high = torch.where(known[..., None], joints, -torch.inf).amax(1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def _match_people(logits: torch.Tensor, found: torch.Tensor, boxes: torch.Tensor) -> list[tuple[int, int]]:
    with torch.no_grad():
        cost = _PLACES * torch.cdist(found, boxes, p=1) - logits.softmax(-1)[:, :1]
    queries, rows = linear_sum_assignment(cost.double().cpu().numpy())
    return list(zip(queries.tolist(), rows.tolist(), strict=True))


def _person_terms(
    logits: torch.Tensor, found: torch.Tensor, boxes: list[torch.Tensor], matches: list[list[tuple[int, int]]]
) -> torch.Tensor:
    labels = torch.ones(logits.shape[:2], dtype=torch.long, device=logits.device)
    distance, count = found.new_zeros(()), 0
    for frame, match in enumerate(matches):
        for query, row in match:
            labels[frame, query] = 0
            distance, count = distance + (found[frame, query] - boxes[frame][row]).abs().sum(), count + 1
    classes = cross_entropy(logits.transpose(1, 2), labels, logits.new_tensor([1.0, _NONE]))
    return classes + _PLACES * distance / max(count, 1)


def _of_person(
    logits: torch.Tensor, places: torch.Tensor, joints: torch.Tensor, known: torch.Tensor, box: torch.Tensor
) -> torch.Tensor:
    """The joint set loss of one person, places relative to the box so that small people teach as much."""
    scale = box[2:].clamp_min(1e-3)
    relative = torch.cat([logits, (places - box[:2]) / scale], dim=-1)[None]
    wanted = ((torch.nan_to_num(joints) - box[:2]) / scale).nan_to_num()
    return _of_layer(relative, torch.where(known[:, None], wanted, 0)[None], known[None].float())


register_frame_loss("person_set", person_set_loss)
