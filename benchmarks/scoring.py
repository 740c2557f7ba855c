"""Seconds of every scoring protocol, beside upstream's programs and beside plain loops timed in the same run.

    python benchmarks/scoring.py [--quick] [--json FILE]

The inputs are a generated scene of the size of the golden set `medium` (2,000 frames, about 50,000 pairs of people)
and, where ../shared is at hand, that set itself, for which upstream's seconds are known. Ratios are upstream / ours and
plain / ours; seconds are processor seconds of one thread, the best of several repetitions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scenes import SceneSpec, make_scene, write_scene

from harness.datasets.layouts import read_sequence
from harness.datasets.sequences import Sequence
from harness.predictions import Predictions, import_json
from harness.scoring import counted, match, poseval_scene, precision_recall
from harness.scoring.hota import ALPHAS, count_hota, hota
from harness.scoring.posetrack21 import posetrack21_scene
from harness.scoring.poseval import without_last_frames
from harness.scoring.tracking import count_tracking, tracking
from harness.skeletons import POSETRACK15

ROOT = Path(__file__).parents[1]
MEDIUM = ROOT.parent / "shared" / "golden" / "poseval" / "medium"

#: Seconds of upstream's programs on `medium` (golden/poseval/README.md: 2 shared cores, other jobs running).
UPSTREAM = {"load": 3.1, "AP": 5.0, "load + AP": 8.1, "MOTA": 9.2, "MOTA, 2017": 320.0, "mAP 21": 5.5, "HOTA": 14.8}
#: What a ratio to upstream has to reach.
TARGETS = {"load + AP": 40, "AP": 100, "MOTA": 30, "MOTA, 2017": 1000, "mAP 21": 100, "HOTA": 30}

Scene = tuple[tuple[Sequence, ...], Predictions]


def tasks(sequences: tuple[Sequence, ...], predictions: Predictions) -> dict[str, Callable[[], Any]]:
    """Every protocol from parsed arrays to numbers, its own clean-up and matching included."""

    def mota(assignment: str) -> Any:
        scene = without_last_frames(poseval_scene(sequences, predictions))
        return tracking(count_tracking(scene, assignment=assignment))

    return {
        "AP": lambda: precision_recall(counted(match(poseval_scene(sequences, predictions)))),
        "MOTA": lambda: mota("head"),
        "MOTA, 2017": lambda: mota("legacy"),
        "mAP 21": lambda: precision_recall(counted(match(posetrack21_scene(sequences, predictions)))),
        "HOTA": lambda: hota(count_hota(posetrack21_scene(sequences, predictions))),
    }


def plain_tasks(sequences: tuple[Sequence, ...], predictions: Predictions) -> dict[str, Callable[[], Any]]:
    """The same numbers by the loops that the tests compare with."""
    sys.path.append(str(ROOT / "tests"))
    import slow_scoring as slow

    count = len(sequences)

    def hota_loops() -> None:
        frames = slow.poseval_frames(sequences, predictions)
        for joint in POSETRACK15.names:
            slow.hota(frames, count, joint, ALPHAS)

    return {
        "AP": lambda: slow.average_precision(slow.poseval_frames(sequences, predictions)),
        "MOTA": lambda: slow.tracking(slow.poseval_frames(sequences, predictions), count),
        "HOTA": hota_loops,
    }


def load(truth: Path, found: Path) -> Scene:
    sequences = tuple(read_sequence(file) for file in sorted(truth.iterdir()))
    return sequences, import_json(found, sequences)


def seconds(task: Callable[[], Any], repeat: int) -> float:
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        task()
        best = min(best, time.process_time() - start)
    return best


def pairs(scene: Scene) -> int:
    cleaned = poseval_scene(*scene)
    sides = [np.bincount(side.frame, minlength=cleaned.frame_count) for side in (cleaned.truth, cleaned.predicted)]
    return int((sides[0] * sides[1]).sum())


def measured(truth: Path, found: Path, repeat: int) -> tuple[dict[str, float], Scene]:
    """Seconds by task for the files of one set."""
    scene = load(truth, found)
    taken = {name: seconds(task, repeat) for name, task in tasks(*scene).items()}
    loaded = seconds(lambda: load(truth, found), max(2, repeat // 3))
    return {"load": loaded, "load + AP": loaded + taken["AP"], **taken}, scene


def growth(spec: SceneSpec, repeat: int) -> dict[str, float]:
    """How much longer ten times the frames take: ten times the sequences, ten times their length."""
    base = tasks(*make_scene(spec, 1))
    found = {}
    for kind, larger in (
        ("sequences", replace(spec, sequences=10 * spec.sequences)),
        ("length", replace(spec, frames=10 * spec.frames)),
    ):
        grown = tasks(*make_scene(larger, 1))
        for name in ("AP", "MOTA", "HOTA"):
            found[f"{name}, 10 x {kind}"] = seconds(grown[name], repeat) / seconds(base[name], repeat)
    return found


def memory(scene: Scene) -> dict[str, float]:
    """Peak memory of a pass over the size of the parsed arrays."""
    sequences, predictions = scene
    owners = [predictions, *(sequence.truth for sequence in sequences)]
    arrays = [getattr(owner, item.name) for owner in owners for item in fields(owner)]
    parsed = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    found = {}
    for name, task in tasks(*scene).items():
        tracemalloc.start()
        task()
        found[name] = tracemalloc.get_traced_memory()[1] / parsed
        tracemalloc.stop()
    return found


def unzipped(folder: Path, into: Path) -> None:
    for side, name in (("gt", "truth"), ("pred", "predictions")):
        (into / name).mkdir(parents=True)
        for file in (folder / side).iterdir():
            data = file.read_bytes()
            target = into / name / file.name.removesuffix(".gz")
            target.write_bytes(gzip.decompress(data) if file.suffix == ".gz" else data)


def run(spec: SceneSpec, repeat: int) -> dict[str, Any]:
    """Everything that is measured, as one JSON object."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder / "scene", *make_scene(spec, 0))
        taken, scene = measured(folder / "scene" / "truth", folder / "scene" / "predictions", repeat)
        found["scene"] = {"pairs": pairs(scene), "seconds": taken}
        plain = {task: seconds(loops, 1) for task, loops in plain_tasks(*scene).items()}
        found["scene"]["plain seconds"] = plain
        found["scene"]["plain / ours"] = {task: value / taken[task] for task, value in plain.items()}
        found["memory over parsed arrays"] = memory(scene)
        if MEDIUM.is_dir():
            unzipped(MEDIUM, folder / "medium")
            taken, scene = measured(folder / "medium" / "truth", folder / "medium" / "predictions", repeat)
            ratios = {task: value / taken[task] for task, value in UPSTREAM.items()}
            found["medium"] = {"pairs": pairs(scene), "seconds": taken, "upstream / ours": ratios}
    found["growth"] = growth(replace(spec, sequences=max(1, spec.sequences // 4)), max(2, repeat // 3))
    return found


def show(found: dict[str, Any]) -> None:
    """Print the figures as tables."""
    for name in ("scene", "medium"):
        if name in found:
            part = found[name]
            print(f"{name}: {part['pairs']} pairs of people in shared frames")
            for task, value in part["seconds"].items():
                print(f"  {task:12} {1000 * value:9.1f} ms{_ratio(part, task)}")
    for title, key, unit in (
        ("peak memory over parsed arrays", "memory over parsed arrays", "x"),
        ("time", "growth", "x"),
    ):
        print(title)
        for task, value in found[key].items():
            print(f"  {task:22} {value:6.2f} {unit}")


def _ratio(part: dict[str, Any], task: str) -> str:
    text = ""
    if task in part.get("plain / ours", {}):
        text += f"   plain loops / ours {part['plain / ours'][task]:8.0f}"
    if task in part.get("upstream / ours", {}):
        text += f"   upstream / ours {part['upstream / ours'][task]:8.0f}"
        text += f"   (target {TARGETS[task]})" if task in TARGETS else ""
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames, fewer repetitions")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    spec = SceneSpec(sequences=2) if options.quick else SceneSpec()
    found = run(spec, 3 if options.quick else 12)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
