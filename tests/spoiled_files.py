"""Every format the harness reads: a sound file of it, how to spoil one, and the reader that meets it."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import spoiled_archive, spoiled_bytes, spoiled_json, spoiled_table, spoiled_toml, touched_json
from safetensors.torch import save
from test_posetrack import annolist, labels
from test_predictions import predictions
from test_records import make_record

from baselines.onnx import read_card
from harness.boxes import boxes_from_file
from harness.cli import cli
from harness.datasets import DataSet, open_dataset
from harness.predictions.importing import import_json
from harness.predictions.parquet import read_parquet, write_parquet
from harness.probes.probe import probe_named
from harness.records import dump_record, parse_record
from harness.registry import Registry
from harness.report.studies import read_study
from harness.training.recipes import open_recipe
from harness.weights import checkpoints, load, manifest

ROOT = Path(__file__).parents[1]
VIDEO = "000342_mpii_test"
IMAGES = [f"images/val/{VIDEO}/{number:06d}.jpg" for number in range(3)]
LABELS = f"annotations/val/{VIDEO}.json"
POINTS = [{"id": [joint], "x": [10.0 + joint], "y": [20.0], "is_visible": [1]} for joint in (0, 5, 14)]


@dataclass(frozen=True)
class Format:
    """`read(folder, data)` is given the spoiled bytes and a folder of its own; `make(folder)` the sound ones.

    `spoil` are the ways to spoil it, one chosen by chance: each from what `make` gave.
    """

    read: Callable[[Path, bytes], object]
    make: Callable[[Path], Any]
    spoil: tuple[Callable[..., bytes], ...]

    def spoiled(self, sound: Any, chance: random.Random) -> bytes:
        return chance.choice(self.spoil)(sound, chance)

    def plain(self, sound: Any) -> bytes:
        if isinstance(sound, bytes):
            return sound
        if isinstance(sound, str):
            return sound.encode()
        tensors = isinstance(sound, dict) and isinstance(next(iter(sound.values())), torch.Tensor)
        return save(sound) if tensors else json.dumps(sound).encode()


def of_json(way: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda sound, chance: way(json.dumps(sound).encode(), chance)


def of_text(way: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda sound, chance: way(sound.encode(), chance)


JSON = (spoiled_json, spoiled_json, of_json(spoiled_bytes))
TOML = (spoiled_toml, spoiled_toml, of_text(spoiled_bytes))
BYTES = (spoiled_bytes,)


def posetrack(version: str, place: str, split: str = "val") -> Callable[[Path, bytes], DataSet]:
    def read(folder: Path, data: bytes) -> DataSet:
        for name in IMAGES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return open_dataset(version, root=folder, split=split)

    return read


def at(name: str, reader: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def read(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        return reader(folder / name)

    return read


def without_labels(folder: Path, data: bytes) -> DataSet:
    """The test split of PoseTrack17, whose videos are those that no label file names."""
    unlabelled = folder / "images" / "bonn" / "000009_bonn"
    unlabelled.mkdir(parents=True, exist_ok=True)
    (unlabelled / "000001.jpg").touch()
    return posetrack("posetrack17", LABELS, split="test")(folder, data)


def truth_beside(path: Path) -> DataSet:
    truth = path.parent / "truth"
    if truth.is_dir():
        return open_dataset("posetrack18", root=truth, split="val")
    return posetrack("posetrack18", LABELS)(truth, json.dumps(labels(IMAGES)).encode())


def against_truth(path: Path) -> object:
    return import_json(path.parent, truth_beside(path).sequences)


def detected(path: Path) -> object:
    return boxes_from_file(path, truth_beside(path), unlabelled=True)


def detections(_: Path) -> list[dict[str, Any]]:
    box = {"category_id": 1, "bbox": [1.0, 2.0, 30, 40.5], "score": 0.9, "track_id": 2}
    return [box | {"image_name": name} for name in IMAGES] + [box | {"image_id": number} for number in range(3)]


def scored(_: Path) -> dict[str, Any]:
    return labels(IMAGES, scores=[0.5] * 17, score=0.7, bbox=[1, 2, 30, 40])


def register_alone(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "weights", Registry("weights"))
        manifest.register_manifest(path)


def defaults(path: Path) -> None:
    """The options of `harness eval` as a harness.toml sets them."""
    command = cli.get_command(None, "eval")
    command.make_context("eval", ["--method", "hrnet", "--data-root", str(path.parent)])


def card_of(path: Path) -> object:
    (path.parent / "mine.onnx").touch()
    return read_card(path)


def probe_of(path: Path) -> object:
    return probe_named(path.read_bytes().decode("utf-8", "replace"))


class Network(torch.nn.Sequential):
    def __init__(self) -> None:
        super().__init__(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.Conv2d(2, 4, 3))


def checkpoint(folder: Path) -> bytes:
    torch.save({"state_dict": Network().state_dict()}, folder / "sound.pth")
    return (folder / "sound.pth").read_bytes()


def keys(sound: dict[str, torch.Tensor], chance) -> bytes:
    """The state dict with keys renamed, removed, added, exchanged, or tensors of another shape or kind."""
    state = dict(sound)
    for _ in range(chance.randrange(1, 4)):
        key = chance.choice(list(state))
        kind = chance.randrange(6)
        value = state[key] if kind in (3, 4) else state.pop(key)
        if kind in (1, 2):
            state[chance.choice(["module.", "backbone.", "", "x" * 500, "骨.", "\n"]) + key[chance.randrange(3) :]] = (
                value
            )
        elif kind == 3:
            state[key] = chance.choice(
                [value.reshape(1, *value.shape), value.to(torch.int8), torch.zeros(0), value[None]]
            )
        elif kind == 4:
            state[chance.choice(list(state))] = value
        if not state:
            break
    return save({key: value.clone().contiguous() for key, value in state.items()})


def parquet(folder: Path) -> bytes:
    write_parquet(predictions(), folder / "sound.parquet")
    return (folder / "sound.parquet").read_bytes()


def columns_of(path: Path) -> object:
    """Predictions as read, which have to be what they are said to be: whoever takes them asks no more."""
    found = read_parquet(path)
    kinds = {"f8": ("boxes", "box_scores", "joints", "scores"), "i8": ("sequence", "frame", "person", "track_ids")}
    for kind, names in kinds.items():
        assert {getattr(found, name).dtype for name in names} == {np.dtype(kind)}
    assert found.present.dtype == bool and all(isinstance(name, str) for name in found.sequence_names)
    return found


CARD = """name = "mine"
model = "mine.onnx"
input = [96, 128]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
codec = "heatmap"
codec_options = {sigma = 2.0}
joints = ["nose", "head_top"]
support = [0, -1]
layout = "clip"
enlarge = 1.25
flip_test = true
title = "Mine"
"""
MANIFEST = '["a.safetensors"]\nfile = "a.safetensors"\nsha256 = "00"\nlicence = "x"\ntrained_on = "y"\n'
DEFAULTS = (
    '[eval]\nlimit = 3\nbatch-size = 4\nprecision = "fp32"\nbox-enlarge = 1.5\nflip = true\nnms = "oks"\n'
    'dataset = "synthtrack"\nweights = "random"\n\n[score]\nformat = "json"\n'
)

FORMATS = {
    "PoseTrack18 labels": Format(posetrack("posetrack18", LABELS), lambda _: labels(IMAGES), JSON),
    "PoseTrack17 labels": Format(posetrack("posetrack17", LABELS), lambda _: annolist(IMAGES, POINTS), JSON),
    "PoseTrack21 labels": Format(
        posetrack("posetrack21", f"posetrack_data/val/{VIDEO}.json"), lambda _: labels(IMAGES, person_id=3), JSON
    ),
    "PoseTrack18 labels, lightly": Format(posetrack("posetrack18", LABELS), lambda _: labels(IMAGES), (touched_json,)),
    "merged labels": Format(
        posetrack("posetrack18", "annotations/posetrack_val.json"), lambda _: labels(IMAGES), JSON
    ),
    "PoseTrack17 videos without labels": Format(without_labels, lambda _: annolist(IMAGES, POINTS), JSON),
    "predictions as JSON": Format(at(f"{VIDEO}.json", against_truth), scored, JSON),
    "predictions as JSON, lightly": Format(at(f"{VIDEO}.json", against_truth), scored, (touched_json,)),
    "detector files": Format(at("boxes.json", detected), detections, (*JSON, touched_json)),
    "records": Format(
        at("record.json", lambda path: parse_record(path.read_bytes(), source=str(path))[0].id),
        lambda _: json.loads(dump_record(make_record())), (*JSON, touched_json),
    ),
    "predictions as Parquet": Format(at("spoiled.parquet", read_parquet), parquet, BYTES),
    "columns of Parquet": Format(at("columns.parquet", columns_of), parquet, (spoiled_table,)),
    "PyTorch checkpoints": Format(at("spoiled.pth", checkpoints.read_checkpoint), checkpoint, BYTES),
    "safetensors": Format(
        at("spoiled.safetensors", checkpoints.read_checkpoint), lambda _: save(Network().state_dict()),
        (spoiled_bytes, spoiled_archive),
    ),
    "keys of checkpoints": Format(
        at("keys.safetensors", lambda path: load(Network(), path)), lambda _: Network().state_dict(), (keys,)
    ),
    "studies (TOML)": Format(at("study.toml", read_study), lambda _: (ROOT / "reports/claims.toml").read_text(), TOML),
    "weights manifests (TOML)": Format(at("manifest.toml", register_alone), lambda _: MANIFEST, TOML),
    "recipes (TOML)": Format(
        at("recipe.toml", open_recipe), lambda _: (ROOT / "baselines/recipes/hrnet.toml").read_text(), TOML
    ),
    "cards of ONNX models (TOML)": Format(at("card.toml", card_of), lambda _: CARD, TOML),
    "harness.toml": Format(at("harness.toml", defaults), lambda _: DEFAULTS, TOML),
    "names of probes": Format(at("probe", probe_of), lambda _: b"key_cutout@wrist=0.1", BYTES),
}  # fmt: skip
