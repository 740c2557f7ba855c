"""A small data set with images, two runs on it, and what a page, a video or a sheet is made from."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from small_scenes import BODY, pose, predictions, sequence

from harness.datasets.sequences import DataSet
from harness.predictions import concatenate
from harness.records import BoxesUsed, Cost, DataUsed, Environment, InferenceUsed, MethodUsed, RunRecord
from harness.report.comparable import labels
from harness.report.opened import Opened
from harness.results import StoredRun
from harness.scoring.matched import match_run
from harness.scoring.standard import score_run
from harness.skeletons import POSETRACK15

SIZE = (320, 240)
FRAMES = 8


def joint(name):
    return BODY[POSETRACK15.index(name)]


def moved(name, dy, x=60.0):
    """The pose with one joint `dy` px lower."""
    places = pose(x, 90.0)
    places[joint(name), 1] += dy
    return places


def one_sequence(name="000001_mpii_test", *, wrong=True):
    """A person of track 5 in 8 frames; A lacks the left knee in 6, B's right wrist is 45, 45, 300 px off in 2 to 4."""
    truth = sequence([(frame, 5, pose(60.0, 90.0)) for frame in range(FRAMES)], name=name, frames=FRAMES)
    truth = replace(truth, frames=tuple(replace(frame, size=SIZE) for frame in truth.frames))
    off = {2: 45.0, 3: 45.0, 4: 300.0} if wrong else {}
    first = predictions(
        [(frame, 5, pose(60.0, 90.0)) for frame in range(FRAMES)], [truth], absent=[(6, "left_knee")] if wrong else []
    )
    second = predictions([(frame, 5, moved("right_wrist", off.get(frame, 0.0))) for frame in range(FRAMES)], [truth])
    return truth, first, second


def write_images(root: Path, sequences, *, size=SIZE) -> None:
    random = np.random.default_rng(0)
    for item in sequences:
        for frame in item.frames:
            path = root / frame.image
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = random.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
            cv2.imwrite(str(path), cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC))


def open_scene(root: Path, *, titles=("First", "Second"), names=("000001_mpii_test", "000002_mpii_test"), runs=2):
    """`Opened` of one or two runs; sequences after the first hold no failure. Images are written below `root`."""
    parts = [one_sequence(name, wrong=number == 0) for number, name in enumerate(names)]
    data = DataSet("posetrack18", "val", root, tuple(part[0] for part in parts), "sha256:" + "ab" * 32)
    write_images(root, data.sequences)
    poses = [concatenate([part[1 + run] for part in parts]) for run in range(runs)]
    return opened_of(data, poses, titles)


def opened_of(data, poses, titles):
    records = [record_of(data, own, title) for own, title in zip(poses, titles, strict=False)]
    stored = tuple(StoredRun(record, data.root / record.id, {"id": record.id}) for record in records)
    matched = tuple(match_run(data, own) for own in poses)
    return Opened(data, stored, tuple(labels(records)), tuple(poses), matched)


def record_of(data, poses, title) -> RunRecord:
    people = sum(len(item.truth) for item in data.sequences)
    return RunRecord(
        created="2026-01-31T12:00:00Z", command="harness eval",
        method=MethodUsed("first" if "First" in title else "second", title, "tiny"),
        dataset=DataUsed(data.name, data.split, data.fingerprint, "poseval", len(data), data.frame_count,
                         data.frame_count, people),
        boxes=BoxesUsed("truth", "sha256:" + "ef" * 32, people),
        inference=InferenceUsed("heatmap", (96, 128), 1.25, (0,)),
        scores=tuple(score_run(data, poses, slices=("speed",)).entries),
        cost=Cost({}, people, data.frame_count, 100.0, 440_000),
        environment=Environment("3.11.9", "Linux x86_64", 2, {}, "0123456789abcdef"),
    )  # fmt: skip


def random_scene(root: Path, random, *, count=60, length=18, size=(640, 360)):
    """`Opened` of two runs of noise on `count` sequences of two people: thousands of failures; images of noise."""
    parts = []
    for number in range(count):
        places = [(frame, track, pose(80.0 + 250 * track, 150.0)) for frame in range(length) for track in (0, 1)]
        truth = sequence(places, name=f"{number:06d}_noise", frames=length)
        truth = replace(truth, frames=tuple(replace(frame, size=size) for frame in truth.frames))
        noisy = [
            [(frame, track, joints + random.normal(0, 22, joints.shape)) for frame, track, joints in places]
            for _ in range(2)
        ]
        parts.append((truth, *(predictions(people, [truth]) for people in noisy)))
    data = DataSet("posetrack18", "val", root, tuple(part[0] for part in parts), "sha256:" + "ab" * 32)
    write_images(root, data.sequences, size=size)
    poses = [concatenate([part[1 + run] for part in parts]) for run in range(2)]
    return opened_of(data, poses, ("First", "Second"))
