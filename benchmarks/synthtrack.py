"""How fast synthtrack renders: frames per second on one core, beside plain JPEG encoding of the same frames.

    python benchmarks/synthtrack.py [--split train] [--sequences 40]

The ratio is what to compare across machines. `cpu` counts processor time and so hardly feels a neighbour's load.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from harness.datasets.synthtrack.degrade import encode
from harness.datasets.synthtrack.generate import scene_of, write_sequence
from harness.datasets.synthtrack.labels import label_scene
from harness.datasets.synthtrack.presets import PRESETS
from harness.datasets.synthtrack.render import Renderer


def timed(work) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="standard", choices=sorted(PRESETS))
    parser.add_argument("--split", default="train")
    parser.add_argument("--sequences", type=int, default=40)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    preset = PRESETS[chosen.preset]
    scenes = [scene_of(preset, chosen.split, index) for index in range(chosen.sequences)]
    count = chosen.sequences * preset.splits[chosen.split][1]
    pictures = [list(Renderer(scene).frames()) for scene in scenes]
    rows = {
        "draw and degrade": lambda: [list(Renderer(scene).frames()) for scene in scenes],
        "label": lambda: [label_scene(scene, crowd=np.zeros((0, 2))) for scene in scenes],
        "encode JPEG": lambda: [
            encode(picture, scene.degradation.quality)
            for scene, frames in zip(scenes, pictures, strict=True)
            for picture in frames
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows["everything, written to disk"] = lambda: [
            write_sequence(root, preset, chosen.split, index) for index in range(chosen.sequences)
        ]
        times = {name: timed(work) for name, work in rows.items()}
    people = np.mean([len(scene.people) for scene in scenes])
    print(
        f"{preset.name} {chosen.split}: {preset.width} x {preset.height}, {count} frames, {people:.1f} people, one core"
    )
    for name, (wall, processor) in times.items():
        ratio = processor / times["encode JPEG"][1]
        rates = f"{count / wall:7.1f} frames/s  {count / processor:7.1f} frames/s cpu"
        print(f"{name:28s} {rates}  {ratio:5.1f} x JPEG encoding")


if __name__ == "__main__":
    main()
