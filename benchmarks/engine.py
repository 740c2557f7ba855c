"""How fast the engine is: against a per-person loader, its own network alone, the field's loop; ranks, memory, start.

    python benchmarks/engine.py [input forward job ranks memory start paths] [--quick]

Every ratio is of two things timed in turns in one run. `cpu` counts processor seconds of the process and so hardly
feels a neighbour's load; `wall` is what a user waits for on a machine of one's own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from engine_scene import Spec, field_loop, make, person_clip

from harness.boxes import Boxes, boxes_from_truth
from harness.datasets import DataSet, open_dataset
from harness.inference import RANDOM, Loaded, Settings, load_method, predict
from harness.inference.images import read_image
from harness.inference.loaded import forward
from harness.inference.normalising import Normaliser
from harness.inference.reading import Job, fetch
from harness.inference.shards import Shards
from harness.inference.task import Task, placed
from harness.methods import CropSpec, MethodCard, Preset

CPU = torch.device("cpu")
#: The five-frame method for the whole job, and where weights are wanted.
FIVE = "fami"


def best(works: dict[str, Callable[[], Any]], repeat: int) -> dict[str, tuple[float, float]]:
    """(wall, processor) seconds of each work, run in turns, the best of `repeat`."""
    found = {name: (float("inf"), float("inf")) for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            found[name] = min(found[name][0], taken[0]), min(found[name][1], taken[1])
    return found


def ratios(found: dict[str, tuple[float, float]], slow: str, quick: str) -> str:
    return f"{found[slow][0] / found[quick][0]:.2f} wall, {found[slow][1] / found[quick][1]:.2f} cpu"


@contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def method_of_size(size: tuple[int, int]) -> Loaded:
    """Five frames of a size, for what happens before a network."""
    preset = Preset(CropSpec(size), "heatmap", support=(-2, -1, 0, 1, 2), codec_options={"sigma": 2.0})
    card = MethodCard("none", "None", "", {"x": preset}, lambda _: torch.nn.Identity(), "x")
    return Loaded(card, "x", preset, torch.nn.Identity(), load_method("hrnet", weights=RANDOM).method.codec)


def input_side(quick: bool) -> None:
    """Frames to normalised clips: every person's frames read anew, against every frame read once."""
    with folder() as root:
        data, boxes = make(root, Spec(sequences=1, frames=8 if quick else 20))
        for size in ((288, 384), (96, 128)):
            input_of_size(method_of_size(size), data, boxes, 2 if quick else 4)


def input_of_size(method: Loaded, data: DataSet, boxes: Boxes, repeat: int) -> None:
    normaliser = Normaliser(method.preset.crop, CPU)

    def ours(finish: Callable[[torch.Tensor], Any]) -> None:
        work = Task(method, boxes, Shards(None, data, {}), CPU, 6).work_of(data, 0)
        for image, number in work.images.items():
            arrival = fetch(Job(0, (0,), (work,), image), data.root, read_image, crop_path="reference")
            for _, crops in work.full_batches(number, arrival.size):
                finish(crops)

    found = best(
        {
            "loader": lambda: [person_clip(method, data, boxes, row) for row in range(len(boxes))],
            "crops": lambda: ours(lambda crops: crops),
            "clips": lambda: ours(normaliser),
        },
        repeat,
    )
    width, height = method.preset.crop.size
    print(f"input side, {width} x {height}, 6 people, T = 5, 1280 x 720 JPEG, one thread")
    for name, (wall, cpu) in found.items():
        print(f"  {name:8} {1000 * wall / len(boxes):8.2f} ms per clip, {1000 * cpu / len(boxes):8.2f} cpu")
    print(f"  loader / decode + crop:             {ratios(found, 'loader', 'crops')} (asked for 8)")
    print(f"  loader / decode + crop + normalise: {ratios(found, 'loader', 'clips')}")


def forward_bound(quick: bool) -> None:
    """Whole runs on synthtrack against the network alone on input that lies ready."""
    from dataclasses import replace

    data = open_dataset("synthtrack", "val")
    data = replace(data, sequences=data.sequences[: 4 if quick else 8])
    boxes = boxes_from_truth(data)
    print(f"end to end over the network alone, synthtrack, {len(boxes)} clips, {torch.get_num_threads()} threads")
    for name in ("hrnet", "simple_baseline", "simcc", "dcpose", FIVE):
        method = load_method(name, preset="tiny", weights=RANDOM).method
        quickest = placed(method, CPU, fold=False)
        width, height = method.preset.crop.size
        clips = torch.randn(32, len(method.preset.support), height, width, 3).permute(0, 1, 4, 2, 3)
        rounds = len(boxes) // 32
        walls: list[float] = []

        def whole(method: Loaded = method, walls: list[float] = walls) -> None:
            walls.append(predict(method, data, boxes)[1].wall)

        def alone(quickest: Loaded = quickest, clips: torch.Tensor = clips, rounds: int = rounds) -> None:
            for _ in range(rounds):
                forward(quickest, clips, device=CPU)

        found = best({"alone": alone, "whole": whole}, 2 if quick else 4)
        share = rounds * 32 / len(boxes)
        print(
            f"  {name:16} network {1000 * found['alone'][0] / (32 * rounds):6.2f} ms per clip; "
            f"ratio {found['alone'][0] / share / min(walls):.2f} wall, "
            f"{found['alone'][1] / share / found['whole'][1]:.2f} cpu (asked for 0.90)"
        )


def whole_job(quick: bool) -> None:
    """The field's loop with the same weights, and the same poses."""
    with folder() as root:
        data, boxes = make(root, Spec(sequences=1, frames=6 if quick else 12))
        methods = {"mean of hrnet over five frames": five_frames()} | {
            name: load_method(name, preset="tiny", weights=RANDOM).method for name in ("hrnet", FIVE)
        }
        for name, method in methods.items():
            found = best(
                {
                    "field": lambda method=method: field_loop(method, data, boxes),
                    "ours": lambda method=method: predict(method, data, boxes),
                },
                2,
            )
            joints = predict(method, data, boxes, settings=Settings(fold=False))[0].joints
            apart = np.abs(joints - field_loop(method, data, boxes)).max(axis=(1, 2))
            print(f"whole job, {name}, tiny, {len(method.preset.support)} frames, 6 people, {len(boxes)} clips")
            print(f"  field {found['field'][0]:.2f} s, ours {found['ours'][0]:.2f} s: {ratios(found, 'field', 'ours')}")
            print(f"  poses apart: median {np.median(apart):.1e} px, largest {apart.max():.1e} px")


class FiveFrames(torch.nn.Module):
    """The mean of the maps that a network for one frame finds in each of five."""

    def __init__(self, single: torch.nn.Module) -> None:
        super().__init__()
        self.single = single

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        maps = self.single(clips.flatten(0, 1)[:, None])
        return maps.unflatten(0, clips.shape[:2]).mean(1)


def five_frames() -> Loaded:
    """A tiny method of five frames whose network is as light as its backbone."""
    from dataclasses import replace

    single = load_method("hrnet", preset="tiny", weights=RANDOM).method
    preset = replace(single.preset, support=(0, -1, 1, -2, 2))
    return replace(single, preset=preset, module=FiveFrames(single.module).eval())


def paths(quick: bool) -> None:
    """What crop path, folding, precision and batch size do to poses and AP."""
    from dataclasses import replace

    from harness.scoring import score

    data = open_dataset("synthtrack", "val")
    data = replace(data, sequences=data.sequences[: 4 if quick else 20])
    boxes = boxes_from_truth(data)
    method = load_method("hrnet", preset="tiny").method
    reference, _ = predict(method, data, boxes, settings=Settings(fold=False))

    def ap(found: Any) -> float:
        entries = score(data, found, protocol=data.protocol).entries
        return next(item.value for item in entries if item.metric == "ap" and item.joint == "total")

    print(f"settings against the reference, hrnet tiny, {len(boxes)} clips: AP {ap(reference):.2f}")
    for title, settings in {
        "--crop-path device": Settings(fold=False, crop_path="device"),
        "--fold": Settings(fold=True),
        "--batch-size 5": Settings(fold=False, batch_size=5),
        "--precision bf16": Settings(fold=False, precision="bf16"),
    }.items():
        found, _ = predict(method, data, boxes, settings=settings)
        apart = np.abs(found.joints - reference.joints)
        print(f"  {title:20} largest {apart.max():8.1e} px, mean {apart.mean():8.1e} px, AP {ap(found):.2f}")


def memory(quick: bool) -> None:
    """Peak memory of processes that run some sequences and ten times as many."""
    peaks = [json.loads(_child("--peak", str(count))) for count in ((2, 20) if quick else (5, 50))]
    print(f"peak memory, ten times the sequences: {peaks[0] / 1e6:.0f} MB -> {peaks[1] / 1e6:.0f} MB,", end=" ")
    print(f"{peaks[1] / peaks[0]:.3f} times (asked for 1.1)")


def peak_of(sequences: int) -> None:
    with folder() as root:
        data, boxes = make(root, Spec(sequences=sequences, frames=10, people=4, size=(384, 216)))
        predict(load_method("hrnet", preset="tiny", weights=RANDOM).method, data, boxes, shards=root / "shards")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def start(_: bool) -> None:
    """From the command to the first batch, beyond importing torch."""
    with folder() as root:
        done = subprocess.run(
            [sys.executable, "-c", START], env=os.environ | {"TMPDIR": str(root)}, check=True, capture_output=True,
            text=True,
        )  # fmt: skip
    imported, first = json.loads(done.stdout.splitlines()[-1])
    print(f"start to first batch {first:.2f} s, of which importing torch {imported:.2f} s:", end=" ")
    print(f"{first - imported:.2f} s beyond it (asked for 4)")


#: Runs the command with the first batch replaced by the end of the process.
START = """
import json, os, time
begun = time.perf_counter()
import torch
imported = time.perf_counter() - begun
import harness.inference.task as task
from harness.cli import run
def stop(*_, **__):
    print(json.dumps([imported, time.perf_counter() - begun]), flush=True)
    os._exit(0)
task.infer = stop
run(["eval", "--method", "hrnet", "--weights", "random", "--no-floor", "--no-fold", "--results", os.environ["TMPDIR"]])
"""


def ranks(quick: bool) -> None:
    """Two ranks of one thread against one process of two, the whole command."""
    seconds: dict[str, float] = {}
    with folder() as root:
        command = ["-m", "harness", "eval", "--method", "hrnet", "--weights", "random", "--no-floor", "--no-plots"]
        many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        rounds = 1 if quick else 2
        for turn in range(rounds):
            for name, before in (("one", []), ("two", many)):
                begun = time.perf_counter()
                results = ["--results", str(root / f"{name}{turn}")]
                subprocess.run([sys.executable, *before, *command, *results], check=True, capture_output=True)
                seconds[name] = min(seconds.get(name, float("inf")), time.perf_counter() - begun)
        same = {path.name for path in root.glob("*/*/*/*/predictions-*.parquet")}
    print(f"ranks: one process {seconds['one']:.1f} s, two ranks {seconds['two']:.1f} s,", end=" ")
    print(f"{seconds['one'] / seconds['two']:.2f} times as fast, predictions {'equal' if len(same) == 1 else same}")


def _child(*arguments: str) -> str:
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


PARTS = {
    "input": input_side, "forward": forward_bound, "job": whole_job, "paths": paths, "ranks": ranks, "memory": memory,
    "start": start,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        return peak_of(options.peak)
    for name in options.parts or PARTS:
        if name == "input":
            cv2.setNumThreads(1)
            torch.set_num_threads(1)
        PARTS[name](options.quick)
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    return None


if __name__ == "__main__":
    main()
