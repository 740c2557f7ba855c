"""Spoiled files: every reader returns or raises a HarnessError of at most a few lines that names the file."""

import json
import random
from pathlib import Path

import pytest
import torch
from fuzzing import mutated
from test_posetrack import annolist, labels
from test_predictions import predictions
from test_records import make_record

from harness.datasets import open_dataset
from harness.errors import HarnessError
from harness.predictions.importing import import_json
from harness.predictions.parquet import read_parquet, write_parquet
from harness.records import dump_record, parse_record
from harness.registry import Registry
from harness.report.studies import read_study
from harness.weights import checkpoints, manifest

VIDEO = "000342_mpii_test"
IMAGES = [f"images/val/{VIDEO}/{number:06d}.jpg" for number in range(3)]


def posetrack(version, place):
    def read(folder, data):
        for name in IMAGES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        open_dataset(version, root=folder, split="val")

    return read


def at(name, reader):
    def read(folder, data):
        (folder / name).write_bytes(data)
        reader(folder / name)

    return read


def against_truth(path):
    truth = path.parent / "truth"
    if not truth.is_dir():
        posetrack("posetrack18", f"annotations/val/{VIDEO}.json")(truth, json.dumps(labels(IMAGES)).encode())
    import_json(path, open_dataset("posetrack18", root=truth, split="val").sequences)


def register_alone(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "weights", Registry("weights"))
        manifest.register_manifest(path)


def checkpoint(folder):
    torch.save({"state_dict": {"conv.weight": torch.ones(2, 3)}}, folder / "sound.pth")
    return (folder / "sound.pth").read_bytes()


def parquet(folder):
    write_parquet(predictions(), folder / "sound.parquet")
    return (folder / "sound.parquet").read_bytes()


def study():
    return (Path(__file__).parents[1] / "reports" / "claims.toml").read_bytes()


FORMATS = {
    "posetrack18": (posetrack("posetrack18", f"annotations/val/{VIDEO}.json"), lambda _: labels(IMAGES)),
    "posetrack17": (
        posetrack("posetrack17", f"annotations/val/{VIDEO}.json"),
        lambda _: annolist(IMAGES, [{"id": [0], "x": [1.0], "y": [2.0], "is_visible": [1]}]),
    ),
    "prediction": (at(f"{VIDEO}.json", against_truth), lambda _: labels(IMAGES)),
    "record": (
        at("record.json", lambda path: parse_record(path.read_bytes(), source=str(path))),
        lambda _: json.loads(dump_record(make_record())),
    ),
    "parquet": (at("spoiled.parquet", read_parquet), parquet),
    "checkpoint": (at("spoiled.pth", checkpoints.read_checkpoint), checkpoint),
    "study": (at("study.toml", read_study), lambda _: study()),
    "manifest": (at("manifest.toml", register_alone), lambda _: b'["a.safetensors"]\nsha256 = "00"\nlicence = "x"\n'),
}


def tried(name, count, folder):
    """How many of `count` spoiled files were refused; anything but a HarnessError that names a file fails."""
    read, make = FORMATS[name]
    sound = make(folder)
    document = None if isinstance(sound, bytes) else sound
    data = sound if isinstance(sound, bytes) else json.dumps(sound).encode()
    refused, faults = 0, {}
    for seed in range(count):
        place = folder / f"{seed % 8}"
        place.mkdir(exist_ok=True)
        try:
            read(place, mutated(data, document, random.Random(f"{name} {seed}")))
        except HarnessError as error:
            refused += 1
            if str(error).count("\n") > 2 or not any(part in str(error) for part in (str(place), VIDEO)):
                faults[f"seed {seed}"] = f"does not name the file: {error}"
        except Exception as error:
            faults.setdefault(f"{type(error).__name__}", f"seed {seed}: {error!r:.300}")
    assert not faults, faults
    return refused


@pytest.mark.parametrize("name", FORMATS)
def test_a_spoiled_file_is_refused_in_a_line_or_read(name, tmp_path):
    assert tried(name, 40, tmp_path) > 0


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_spoiled_files_in_number(name, tmp_path):
    count = 10_000 // len(FORMATS) + 1
    print(f"{name}: {count} tried, {tried(name, count, tmp_path)} refused")
