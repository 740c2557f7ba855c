"""The fingerprint of images: what it sees, how fast it is, and that records keep and `verify` compares it."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from harness.datasets import DataSet, open_dataset
from harness.datasets.images import image_hashes, images_fingerprint
from harness.datasets.sequences import Frame, Sequence
from harness.datasets.unlabelled import videos_of_split
from harness.errors import DataError
from harness.records import run_id
from harness.reopen import images_now, looked_at
from harness.results import Results
from harness.verify import Images, verify


@pytest.fixture
def data(tmp_path):
    for video in ("000001_mpii", "000002_mpii"):
        (tmp_path / "images/test" / video).mkdir(parents=True)
        for number in range(4):
            (tmp_path / f"images/test/{video}/{number:06d}.jpg").write_bytes(b"x" * (number + 1))
    return DataSet("posetrack18", "test", tmp_path, videos_of_split(tmp_path, "test"), "sha256:0")


def test_it_sees_sizes_everywhere_and_contents_at_both_ends(data):
    before = images_fingerprint(data)
    assert before.startswith("sha256:") and images_fingerprint(data) == before
    assert images_fingerprint(replace(data, sequences=data.sequences[::-1])) == before
    folder = data.root / "images/test/000002_mpii"
    for name, content in (("000000.jpg", b"y"), ("000003.jpg", b"yyyy"), ("000001.jpg", b"xxx")):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        assert images_fingerprint(data) != before, name
        (folder / name).write_bytes(kept)
    assert images_fingerprint(data) == before
    (folder / "000002.jpg").unlink()
    assert images_fingerprint(data) != before


def test_ten_thousand_files_take_less_than_a_second(tmp_path):
    frames = []
    for video in range(100):
        (tmp_path / str(video)).mkdir()
        for number in range(100):
            (tmp_path / f"{video}/{number:06d}.jpg").write_bytes(b"")
        frames.append(tuple(Frame(f"{video}/{number:06d}.jpg", number, number) for number in range(100)))
    truth = None
    sequences = tuple(Sequence(str(video), own, truth) for video, own in enumerate(frames))
    start = time.process_time()
    images_fingerprint(DataSet("posetrack18", "val", tmp_path, sequences, ""))
    assert time.process_time() - start < 1.0
    outside = Sequence("x", (Frame("../x.jpg", 0, 0),), truth)
    with pytest.raises(DataError, match="leaves the data root"):
        images_fingerprint(DataSet("posetrack18", "val", tmp_path, (outside,), ""))


def test_records_keep_it_and_verify_compares_it(harness, tmp_path):
    words = ("eval", "--method", "hrnet", "--weights", "random", "--dataset", "synthtrack-smoke", "--limit", "1")
    answer = harness(*words, "--no-plots", "--results", tmp_path)
    assert answer.code == 0, answer.err
    run, floor = Results(tmp_path).one("hrnet"), Results(tmp_path).one("mean_pose")
    data = open_dataset("synthtrack-smoke", "val")
    expected = images_fingerprint(replace(data, sequences=data.sequences[:1]))
    assert run.record.dataset.images_fingerprint == expected and floor.record.dataset.images_fingerprint is None
    own = looked_at(run.record, data, run.predictions_path)
    assert own is not None and images_now(own) == expected
    assert looked_at(floor.record, data, floor.predictions_path) is None
    now = Images(expected, image_hashes(own))
    assert run.record.dataset.images == now.contents and floor.record.dataset.images == {}
    assert verify(run, images=now).sound and "images" in verify(run, images=now).checked
    (finding,) = verify(run, images=replace(now, fingerprint="sha256:0")).findings
    assert str(finding).startswith("images: of synthtrack-smoke val changed: expected sha256:")
    (name,) = now.contents
    (finding,) = verify(run, images=replace(now, contents={name: "0"})).findings
    assert str(finding) == f"images: of synthtrack-smoke val changed: those of {name} (1 of 1 sequences)"
    assert any(text.startswith("images: those of") for text in verify(run).skipped)
    document = json.loads((run.folder / "record.json").read_text())
    assert document["dataset"]["images_fingerprint"] == expected
    record = run.record
    without = replace(record.dataset, images_fingerprint=None)
    assert run_id(
        method=record.method, dataset=without, boxes=record.boxes, inference=record.inference, weights=record.weights,
        partial=record.partial, request=record.request,
    ) == record.id  # fmt: skip
    assert np.isfinite(record.table.value("ap"))
