"""Seconds of intervals, comparison, slices and diagnosis, as multiples of one scoring pass of the same run.

    python benchmarks/uncertainty.py [--quick] [--json FILE]

The input is a generated scene of the size of the golden set `medium` (20 sequences, 2,000 frames) and, where ../shared
is at hand, that set itself. A scoring pass is what `harness score` does: read the files, AP and MOTA; its parts stand
beside it. Seconds are processor seconds over all threads, the best of several repetitions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scenes import SceneSpec, make_scene, write_scene
from scoring import MEDIUM, Scene, load, seconds, unzipped

from harness.scoring import score
from harness.scoring.average_precision import counted, precision_recall
from harness.scoring.comparison import compare_matched
from harness.scoring.diagnosis import diagnose
from harness.scoring.entries import Entries, all_entries
from harness.scoring.matched import Matched, match_run
from harness.scoring.replicates import bootstrap_draws, permuted_ap, replicate_ap, swap_draws
from harness.scoring.slices import score_slices

REPLICATES = 2000

#: Paired replicates may take this many times one scoring pass.
TARGET = 5.0


def plain_replicate(joints: tuple[Entries, ...], draw: np.ndarray) -> list[float]:
    """AP of one draw as textbooks do it: weigh every entry, cumulate, take the envelope."""
    values = []
    for joint in joints:
        weights = draw[joint.sequence] * joint.weight
        hits = np.cumsum(weights * joint.hit)
        with np.errstate(invalid="ignore"):
            precision = np.nan_to_num(hits / np.cumsum(weights))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        values.append(100 * float((weights * joint.hit) @ envelope) / float(draw @ joint.truth))
    return values


def shaken(matched: Matched) -> Matched:
    """A second run on the same truth: the first with some noise."""
    joints = matched.predictions.joints
    noise = np.random.default_rng(0).normal(0, 3.0, joints.shape)
    return match_run(matched.sequences, replace(matched.predictions, joints=joints + noise))


def measured(scene: Scene, repeat: int, files: tuple[Path, Path] | None = None) -> dict[str, Any]:
    """Seconds by task, and the multiples of a scoring pass."""
    first = match_run(*scene)
    second = shaken(first)
    sides = (all_entries(first), all_entries(second))
    clusters = len(scene[0])
    draws, (swaps, _) = bootstrap_draws(clusters, REPLICATES), swap_draws(clusters, REPLICATES)
    tasks: dict[str, Callable[[], Any]] = {
        "AP": lambda: precision_recall(counted(match_run(*scene).table)),
        "AP + MOTA": lambda: score(*scene),
        f"{REPLICATES} paired replicates": lambda: [replicate_ap(side, draws) for side in sides],
        f"{REPLICATES} permutations": lambda: [permuted_ap(*sides, side) for side in (swaps, 1 - swaps)],
        "compare": lambda: compare_matched(first, second, permutations=REPLICATES),
        "all slices": lambda: score_slices(first),
        "diagnosis": lambda: diagnose(first),
    }
    taken = {name: seconds(task, repeat) for name, task in tasks.items()}
    if files:
        taken["read + AP + MOTA"] = seconds(lambda: load(*files), repeat) + taken["AP + MOTA"]
    plain = seconds(lambda: [plain_replicate(side, draws[0]) for side in sides], repeat)
    exact = np.array([plain_replicate(sides[0], draw) for draw in draws[:20]])
    replicates = taken[f"{REPLICATES} paired replicates"]
    return {
        "seconds": taken,
        "paired replicates / pass": {
            name: replicates / taken[name] for name in ("AP", "AP + MOTA", "read + AP + MOTA") if name in taken
        },
        "plain loops / ours": plain * REPLICATES / replicates,
        "largest difference to plain, percent points": float(np.abs(replicate_ap(sides[0], draws[:20]) - exact).max()),
    }


def growth(spec: SceneSpec, repeat: int) -> float:
    """How much longer the replicates take for ten times the sequences."""
    taken = []
    for scene in (make_scene(spec, 1), make_scene(replace(spec, sequences=10 * spec.sequences), 1)):
        entries, draws = all_entries(match_run(*scene)), bootstrap_draws(len(scene[0]), REPLICATES)
        taken.append(seconds(lambda entries=entries, draws=draws: replicate_ap(entries, draws), repeat))
    return taken[1] / taken[0]


def run(spec: SceneSpec, repeat: int) -> dict[str, Any]:
    """Everything that is measured, as one JSON object."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder / "scene", *make_scene(spec, 0))
        if MEDIUM.is_dir():
            unzipped(MEDIUM, folder / "medium")
        for part in sorted(path for path in folder.iterdir() if path.is_dir()):
            files = (part / "truth", part / "predictions")
            found[part.name] = measured(load(*files), repeat, files)
    found["10 x sequences"] = growth(replace(spec, sequences=max(1, spec.sequences // 4)), max(2, repeat // 2))
    return found


def show(found: dict[str, Any]) -> None:
    """Print the figures as tables."""
    for name, part in found.items():
        if not isinstance(part, dict):
            print(f"time of the replicates for {name}: {part:.1f} x")
            continue
        print(name)
        for task, value in part["seconds"].items():
            print(f"  {task:26} {1000 * value:9.1f} ms")
        for task, value in part["paired replicates / pass"].items():
            print(f"  paired replicates / one pass of {task:18} {value:6.1f} x   (target {TARGET:.0f})")
        print(f"  plain loops / paired replicates {part['plain loops / ours']:12.1f} x")
        print(
            f"  largest difference to plain    {part['largest difference to plain, percent points']:.1e} percent points"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a fifth of the frames, fewer repetitions")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found = run(SceneSpec(frames=20) if options.quick else SceneSpec(), 2 if options.quick else 5)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
