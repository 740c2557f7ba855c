"""Sequences -> files: folders in the PoseTrack21 layout, a sequence at a time, over several processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from harness.datasets.synthtrack.degrade import encode
from harness.datasets.synthtrack.drawn import list_images
from harness.datasets.synthtrack.labels import label_scene
from harness.datasets.synthtrack.layout import extras_json, posetrack_json
from harness.datasets.synthtrack.presets import (
    CARD_FILE,
    VERSION,
    Preset,
    Progress,
    difficulty_of,
    sequence_seed,
    video_name,
)
from harness.datasets.synthtrack.render import Renderer
from harness.datasets.synthtrack.scene import Scene, draw_scene
from harness.datasets.synthtrack.workers import run_workers

__all__ = ["scene_of", "write_sequence", "write_split"]

_FEW_FRAMES = 100


def scene_of(preset: Preset, split: str, index: int, *, seed: int = 0) -> Scene:
    """The scene of one sequence of a split, without any file."""
    return draw_scene(
        sequence_seed(preset, split, index, seed=seed),
        size=(preset.width, preset.height),
        frames=preset.splits[split][1],
        difficulty=difficulty_of(split),
        look=preset.look,
    )


def write_sequence(root: Path, preset: Preset, split: str, index: int, *, seed: int = 0) -> int:
    """Render and label one sequence into `root`; returns its number of frames."""
    scene, video = scene_of(preset, split, index, seed=seed), video_name(split, index)
    renderer = Renderer(scene)
    folder = root / "images" / split / video
    folder.mkdir(parents=True, exist_ok=True)
    for frame, picture in enumerate(renderer.frames()):
        (folder / f"{frame:06d}.jpg").write_bytes(encode(picture, scene.degradation.quality))
    labels = label_scene(scene, crowd=renderer.crowd)
    for kind, content in (
        ("posetrack_data", posetrack_json(scene, labels, video=video, split=split)),
        ("extras", extras_json(scene, labels, video=video)),
    ):
        path = root / kind / split / f"{video}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return scene.frames


def write_split(
    root: Path, preset: Preset, split: str, *, seed: int = 0, workers: int = 2, progress: Progress | None = None
) -> None:
    """Write every sequence of a split below `root`, in parallel where it pays."""
    count, frames = preset.splits[split]
    shards = [range(first, count, workers) for first in range(workers)]
    if count * frames <= _FEW_FRAMES or workers <= 1:
        written: Iterator[int] = (write_sequence(root, preset, split, index, seed=seed) for index in range(count))
    else:
        written = run_workers([[str(root), preset.name, split, str(seed), *map(str, shard)] for shard in shards])
    done = 0
    for number in written:
        done += number
        if progress is not None:
            progress(done, count * frames)
    card = {"name": "synthtrack", "version": VERSION, "preset": preset.name, "split": split, "seed": seed,
            "sequences": count, "frames": frames, "size": [preset.width, preset.height],
            "images_sha256": list_images(root)}  # fmt: skip
    (root / CARD_FILE).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2))
