"""Errors of lifted joints: in millimetres, and how constant the bones are; intervals over whole sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.lifting.body import BONES, POINT_OF
from harness.lifting.tracks import Tracks
from harness.scoring.bones import bone_lengths, bone_spread, joint_distances_from_truth
from harness.scoring.replicates import bootstrap_draws, jackknife_draws
from harness.scoring.uncertainty import FEWEST_SEQUENCES, REPLICATES, Replicates, intervals

__all__ = ["MEASURES", "score_lifted", "similar", "table_rows"]

Floats = NDArray[np.floating[Any]]

#: What is measured -> how a table calls it. Millimetres, but for the spread, which is a fraction of the length.
MEASURES = {
    "mpjpe_mm": "MPJPE, mm",
    "p_mpjpe_mm": "P-MPJPE, mm",
    "length_error_mm": "bone length, mm",
    "bone_spread": "bone spread, %",
}
_NUMBERS = ("value", "low", "high", "change", "change_low", "change_high")


def score_lifted(
    lifted: Mapping[str, Floats], tracks: Tracks, *, against: str, replicates: int = REPLICATES, seed: int = 0
) -> list[dict[str, Any]]:
    """Every measure of joints (N,T,15,3) in metres by the name of what lifted them, with its 95 % interval.

    Means over labelled people of frames (the spread: over tracks of two frames or more). `change` is what differs from
    the lifter `against`, in the same draws of sequences. With fewer than FEWEST_SEQUENCES the bounds are NaN.
    """
    sequences = np.unique(tracks.sequence)
    sums = np.array([_sums(joints, tracks)[..., sequences] for joints in lifted.values()])
    base = list(lifted).index(against)

    def columns(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        """(B,S) draws -> (B,C) values of every lifter and measure, then their changes."""
        drawn = np.einsum("lmks,bs->blmk", sums, draws)
        with np.errstate(invalid="ignore"):  # tracks of one frame have no spread
            values = drawn[..., 0] / drawn[..., 1]
        both: NDArray[np.float64] = np.concatenate([values, values - values[:, base : base + 1]], axis=1)
        return both.reshape(len(draws), -1)

    count = len(sequences)
    value = columns(np.ones((1, count), dtype=np.int64))[0]
    low, high = np.full((2, len(value)), np.nan)
    if count >= FEWEST_SEQUENCES:
        drawn = columns(bootstrap_draws(count, replicates, seed=seed))
        low, high = intervals(Replicates(value, drawn, columns(jackknife_draws(count))))
    found = np.stack([value, low, high]).reshape(3, 2, -1).transpose(2, 1, 0).reshape(-1, 6).tolist()
    names = [{"lifter": lifter, "measure": measure} for lifter in lifted for measure in MEASURES]
    return [name | dict(zip(_NUMBERS, row, strict=True)) for name, row in zip(names, found, strict=True)]


def similar(found: Floats, true: Floats) -> Floats:
    """Poses (...,J,3) moved, turned and scaled to the true ones as well as can be, by squares (Procrustes)."""
    middle, own = true.mean(axis=-2, keepdims=True), found - found.mean(axis=-2, keepdims=True)
    left, strength, right = np.linalg.svd(own.swapaxes(-1, -2) @ (true - middle))
    sign = np.ones_like(strength)
    sign[..., -1] = np.sign(np.linalg.det(left @ right))  # a turn, never a mirror image
    factor = (strength * sign).sum(axis=-1) / np.maximum((own**2).sum(axis=(-2, -1)), 1e-12)
    result: Floats = factor[..., None, None] * own @ ((left * sign[..., None, :]) @ right) + middle
    return result


def _sums(joints: Floats, tracks: Tracks) -> NDArray[np.float64]:
    """(measures,2,sequences) sum and number of what each measure is the mean of."""
    there, true = tracks.present, tracks.truth[tracks.present]
    found = joints[there]
    lengths = [bone_lengths(POINT_OF @ poses, BONES) for poses in (found, true)]
    errors = [joint_distances_from_truth(poses, true) for poses in (found, similar(found, true))]
    of_pose = np.repeat(tracks.sequence, there.sum(axis=1))
    long = np.flatnonzero(there.sum(axis=1) > 1)
    spread = [bone_spread(POINT_OF @ joints[track, there[track]], BONES).mean() for track in long]
    values = [(of_pose, 1000 * error.mean(axis=-1)) for error in (*errors, np.abs(lengths[0] - lengths[1]))]
    values.append((tracks.sequence[long], np.array(spread)))
    last = int(tracks.sequence.max()) + 1
    return np.array([[np.bincount(of, each, last), np.bincount(of, minlength=last)] for of, each in values])


def table_rows(scores: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A line per lifter from the scores of a document: MPJPE with its interval and its change, the rest plain."""
    lines: dict[str, dict[str, str]] = {}
    for score in scores:
        measure, line = score["measure"], lines.setdefault(score["lifter"], {"lifter": score["lifter"]})
        value, title = score["value"], MEASURES[measure]
        line[title] = "–" if value is None else f"{value * (100 if measure == 'bone_spread' else 1):.1f}"
        if measure == "mpjpe_mm":
            line[title] += _interval(score["low"], score["high"])
            change = f"{score['change']:+.1f}{_interval(score['change_low'], score['change_high'])}"
            line["against direct"] = change if score["change"] else ""
    return list(lines.values())


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.1f}, {high:.1f}]"
