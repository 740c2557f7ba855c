"""Files made to do harm: that unpack or decode to more than any memory holds, nest without end, or lead elsewhere."""

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hand_scenes import predictions_of, sequence_of, standing
from test_posetrack import annolist, labels, touch, write
from test_records import make_record

from harness.datasets import json_files, open_dataset, pictures
from harness.datasets.check import check_data
from harness.datasets.images import image_size, images_fingerprint, missing_images
from harness.datasets.json_files import read_json
from harness.errors import DataError, UsageError, WeightsError
from harness.files import read_plain
from harness.predictions import export_json, read_parquet
from harness.records import dump_record, parse_record
from harness.results import Results, read_run
from harness.toml_files import LARGEST, read_toml
from harness.weights.checkpoints import read_checkpoint

VIDEO = "000342_mpii_test"
IMAGES = [f"images/val/{VIDEO}/{number:06d}.jpg" for number in range(3)]


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_too_much_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, packed):
    """64 MiB of brackets, 64 kB packed, where 2 MiB are allowed."""
    monkeypatch.setattr(json_files, "LARGEST", 2 * 2**20)
    path = tmp_path / "bomb.json"
    content = b"[" * (64 * 2**20)
    path.write_bytes(gzip.compress(content, compresslevel=1) if packed else content)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"^{path}: (is|unpacks to) more than 2,097,152 bytes, .*one file per video$"):
        read_json(path)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_what_is_allowed_is_read_packed_or_not_also_of_several_members(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "LARGEST", 3 * 2**20)
    text = json.dumps(list(range(400_000))).encode()
    assert 2**21 < len(text) < 3 * 2**20
    (tmp_path / "plain.json").write_bytes(text)
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(text[:1000]) + gzip.compress(text[1000:]))
    assert read_json(tmp_path / "plain.json") == read_json(tmp_path / "packed.json.gz") == list(range(400_000))


@pytest.mark.parametrize("opening", ["[", '{"images":', '{"images":[{"id":', "[NaN,"])
def test_nesting_without_end_is_refused(tmp_path, opening):
    path = tmp_path / "deep.json"
    path.write_text(opening * 100_000)
    with pytest.raises(DataError, match=f"^{path}: not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("field", ["request", "findings", "scoring", "repeatability"])
def test_a_record_nested_deeper_than_walkers_follow_is_refused(field):
    document, deep = json.loads(dump_record(make_record())), {}
    for _ in range(900):
        deep = {"a": [deep]} if len(deep) > 1 else {"a": deep}
    document[field] = deep
    with pytest.raises(DataError, match=rf"^here: {field}\.a: is nested deeper than 100 levels$"):
        parse_record(json.dumps(document).encode(), source="here")
    for _ in range(850):
        deep = deep["a"]
    document[field] = deep
    assert parse_record(json.dumps(document).encode(), source="here")[0].id


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x = " + b"[" * 100_000, "not valid TOML"),
        (b"x = " + b"9" * 5000, "not valid TOML"),
        (b"x = '\xff'", "not valid TOML"),
        (b"#" * (LARGEST + 1), "is larger than 4 MiB"),
    ],
)
def test_toml_beyond_measure_is_refused_in_a_line(tmp_path, content, expected):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"(?s)^{path}: {expected}.*; mend it$") as caught:
        read_toml(path, kind=WeightsError, remedy="mend it")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_toml(tmp_path, kind=UsageError)


def png(width, height, rows=1000):
    """A PNG that says it is width x height, and holds a few zeros."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")


def jpeg(width, height):
    """A small JPEG whose frame header says it is another size."""
    content = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), dtype=np.uint8))[1].tobytes())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("content", [png(4_000_000_000, 4_000_000_000), png(65_000, 65_000), jpeg(65_000, 65_000)])
def test_a_picture_that_claims_too_much_is_refused_unseen(content):
    tracemalloc.start()
    with pytest.raises(DataError, match=r"^x\.png: claims \d+ x \d+ pixels, more than 134,217,728; fetch"):
        pictures.decode_image(content, name="x.png")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_picture_of_an_allowed_size_may_still_lie(monkeypatch):
    with pytest.raises(DataError, match=r"^x\.png: not a readable image"):
        pictures.decode_image(png(5000, 5000), name="x.png")

    def too_large(*_):
        raise cv2.error("CV_IO_MAX_IMAGE_PIXELS")

    monkeypatch.setattr(cv2, "imdecode", too_large)
    with pytest.raises(DataError, match=r"^x\.png: not a readable image"):
        pictures.decode_image(b"II*\0", name="x.png")


@pytest.fixture
def data(tmp_path):
    write(tmp_path / "annotations" / "val" / f"{VIDEO}.json", labels(IMAGES))
    touch(tmp_path, IMAGES)
    return tmp_path


def test_links_that_lead_to_themselves_are_missing_images(data):
    for number in (0, 2):
        (data / IMAGES[number]).unlink()
        (data / IMAGES[number]).symlink_to(data / IMAGES[number])
    dataset = open_dataset("posetrack18", root=data, split="val")
    fingerprint = images_fingerprint(dataset)
    for number in (0, 2):
        (data / IMAGES[number]).unlink()
    assert images_fingerprint(dataset) == fingerprint
    folder = (data / IMAGES[0]).parent
    (data / IMAGES[1]).unlink()
    folder.rmdir()
    folder.symlink_to(folder)
    assert {name: len(frames) for name, frames in missing_images(dataset).items()} == {VIDEO: 3}
    assert {finding.kind for finding in check_data(data, images="decode").findings} >= {"images-none"}


def test_folders_that_hold_themselves_do_not_trap(data, tmp_path):
    for place in ("annotations/val/again", "images/val/again", "annotations/me"):
        (data / place).symlink_to(data)
    assert len(open_dataset("posetrack18", root=data, split="val")) == 1
    assert len(open_dataset("posetrack18", root=data / "annotations" / "me" / "annotations" / "me", split="val")) == 1
    assert check_data(data, images="names").splits["val"]["label_files"] == 1
    results = tmp_path / "results"
    results.mkdir()
    (results / "loop").symlink_to(results)
    (results / "self").symlink_to(results / "self")
    run = Results(results).save(make_record())
    assert [found.id for found in Results(results).scan()[0]] == [run.id]


def test_a_label_file_that_links_to_itself_is_named(data):
    path = data / "annotations" / "val" / f"{VIDEO}.json"
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(DataError, match=VIDEO):
        open_dataset("posetrack18", root=data, split="val")


def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_an_empty_one(data, monkeypatch):
    dataset = open_dataset("posetrack18", root=data, split="val")

    def refused(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refused)
    with pytest.raises(DataError, match=rf"{VIDEO}: cannot be looked at \(Permission denied\)"):
        missing_images(dataset)
    monkeypatch.setattr("os.stat", refused)
    with pytest.raises(DataError, match=r"000000\.jpg: cannot be looked at \(Permission denied\)"):
        images_fingerprint(dataset)


@pytest.mark.parametrize("name", ["../../outside/000000.jpg", "images/../../000000.jpg", "{here}/../000000.jpg"])
@pytest.mark.parametrize("version", ["posetrack17", "posetrack18", "posetrack21"])
def test_images_outside_the_data_are_not_looked_at(tmp_path, version, name):
    place = {"posetrack21": f"posetrack_data/val/{VIDEO}.json"}.get(version, f"annotations/val/{VIDEO}.json")
    name = name.format(here=tmp_path)
    (tmp_path.parent / "000000.jpg").touch()  # it is there, so that an absolute name is taken as it is
    points = [{"id": [0], "x": [1.0], "y": [2.0], "is_visible": [1]}]
    write(tmp_path / place, annolist([name], points) if version == "posetrack17" else labels([name]))
    dataset = open_dataset(version, root=tmp_path, split="val")
    if version == "posetrack17" and name.startswith("/"):  # read as a name below images/
        found = dataset.image_path(dataset.sequences[0].frames[0])
        assert tmp_path in found.parents and ".." not in found.parts
        return
    with pytest.raises(DataError, match="leaves the data root"):
        images_fingerprint(dataset)
    with pytest.raises(DataError, match="leaves the data root"):
        dataset.image_path(dataset.sequences[0].frames[0])


@pytest.mark.parametrize("name", ["..", ".", "../../out", "/etc/out", "a/../../out", "a\0b"])
def test_an_export_stays_in_its_folder_whatever_a_sequence_is_called(tmp_path, name):
    people = [(0, 1, standing())]
    sequence = sequence_of(people, name=name)
    folder = tmp_path / "a" / "b" / "export"
    with_that_name = predictions_of((0, 0, standing(), 0.5), names=(name,))
    if "/" in name or "\0" in name:
        with pytest.raises(DataError, match="cannot name a file"):
            export_json(with_that_name, (sequence,), folder)
    else:
        assert export_json(with_that_name, (sequence,), folder) == [folder / f"{name}.json"]
    inside = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(folder in path.parents for path in inside)


@pytest.fixture(params=["pipe", "endless", "sparse", "folder"])
def strange(request, tmp_path):
    """A path where a reader would wait for ever, read for ever, read 20 GB, or find no file."""
    path = tmp_path / "strange"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "endless":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 20 * 10**9)
    return path


SAID = "it is a pipe or a device, not a file|Is a directory|(it has )?more than [0-9,]+ bytes|larger than 4 MiB"
READERS = {
    "labels": (read_json, DataError),
    "images": (pictures.read_image, DataError),
    "Parquet": (read_parquet, DataError),
    "TOML": (lambda path: read_toml(path, kind=WeightsError), WeightsError),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_plain_file_and_no_small_one_are_refused_unread(strange, reader):
    read, kind = READERS[reader]
    tracemalloc.start()
    with pytest.raises(kind, match=f"^{strange}: .*({SAID})"):
        read(strange)
    assert tracemalloc.get_traced_memory()[1] < 2**25  # imports count
    tracemalloc.stop()
    assert image_size(strange) is None


def test_a_record_that_is_no_plain_file_is_one_problem_among_the_runs(strange, tmp_path, harness):
    folder = tmp_path / "results" / "synthtrack" / "val" / "hrnet-tiny-00000000"
    folder.mkdir(parents=True)
    (folder / "record.json").symlink_to(strange)
    if not strange.is_dir():
        with pytest.raises(DataError, match=rf"^{folder / 'record.json'}: cannot be read \(({SAID})"):
            read_run(folder)
        answer = harness("runs", "list", "--results", tmp_path / "results")
        assert "Traceback" not in answer.err and str(folder) in answer.err + answer.out


def test_an_image_that_is_no_plain_file_is_named_by_whoever_looks_at_it(strange, data):
    (data / IMAGES[0]).unlink()
    (data / IMAGES[0]).symlink_to(strange)
    dataset = open_dataset("posetrack18", root=data, split="val")
    with pytest.raises(DataError, match=rf"^{data / IMAGES[0]}: cannot read the image \(({SAID})"):
        images_fingerprint(dataset)
    for images in ("names", "decode"):
        found = [finding for finding in check_data(data, images=images).findings if "000000.jpg" in str(finding)]
        assert found and {finding.kind for finding in found} == {"image-broken"}


def test_a_label_file_that_is_no_plain_file_is_named(strange, data):
    path = data / "annotations" / "val" / f"{VIDEO}.json"
    path.unlink()
    path.symlink_to(strange)
    with pytest.raises(DataError, match=rf"^{path}: .*({SAID})"):
        open_dataset("posetrack18", root=data, split="val")
    assert check_data(data, images="names").findings


def test_a_file_that_says_it_is_empty_is_read_to_its_bound_alone(tmp_path):
    (tmp_path / "whole").write_bytes(b"x" * 10_000)
    assert read_plain(tmp_path / "whole", most=10_000) == b"x" * 10_000
    with pytest.raises(OSError, match="more than 9,999 bytes"):
        read_plain(tmp_path / "whole", most=9_999)
    stated = Path("/proc/self/environ")
    assert stated.stat().st_size == 0 and read_plain(stated, most=2**20)
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_plain(stated, most=10)
    (tmp_path / "empty").touch()
    assert read_plain(tmp_path / "empty", most=0) == b""


@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_a_checkpoint_that_unpacks_to_far_more_is_refused_unread(tmp_path, entry):
    content, path = io.BytesIO(), tmp_path / "bomb.pth"
    torch.save({"state_dict": {"weight": torch.zeros(8)}}, content)
    with zipfile.ZipFile(content) as sound, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in sound.namelist():
            more = bytes(100 * 2**20) if name.endswith(entry) else b""
            bomb.writestr(name, sound.read(name) + more)
    with pytest.raises(WeightsError, match=rf"^{path}: refused, since its [\d,]+ bytes unpack to 104,[\d,]+, as no"):
        read_checkpoint(path)
    with zipfile.ZipFile(content) as sound, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sound.namelist():
            packed.writestr(name, sound.read(name))
    assert read_checkpoint(path)[0]["weight"].shape == (8,)
