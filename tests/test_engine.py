"""The engine against a plain per-person loop, and against everything that can go wrong on the way."""

import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import harness.inference.engine as engine
from harness.codecs import build_codec
from harness.datasets import NO_TRACK, DataSet, Frame, Sequence, Truth
from harness.errors import DataError, HarnessError, UsageError
from harness.inference.ahead import run_ahead
from harness.inference.engine import predict
from harness.inference.images import decode_image, read_image
from harness.inference.loaded import Loaded
from harness.inference.settings import Settings
from harness.inference.work import balanced
from harness.methods import CropSpec, MethodCard, Preset

JOINTS = 17


@dataclass(frozen=True)
class Columns:
    """Boxes as the engine reads them."""

    sequence: np.ndarray
    frame: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    track_ids: np.ndarray
    sha256: str = "sha256:boxes"


class Bright(torch.nn.Module):
    """Heatmaps that follow the brightness of a clip; every joint has its own weights over the T frames and channels."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = torch.nn.Parameter(torch.rand(JOINTS, frames * 3, 1, 1, generator=generator))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        stacked = clips.flatten(1, 2)
        return torch.nn.functional.avg_pool2d(torch.nn.functional.conv2d(stacked, self.weight), 4) + 40


class Centre(torch.nn.Module):
    """Sees no pixels and answers the middle of the box."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        assert clips.shape[1] == 0
        return torch.full((len(clips), JOINTS, 3), 0.5)


def method_of(module, preset):
    card = MethodCard("bright", "Bright", "a test", {"test": preset}, lambda options: module, "test")
    return Loaded(card, "test", preset, module, build_codec(preset))


def bright(support=(0,), **options):
    preset = Preset(CropSpec((48, 64)), "heatmap", support=support, codec_options={"sigma": 1.5}, **options)
    return method_of(Bright(len(support)), preset)


def empty_truth():
    return Truth(
        frame=np.empty(0, np.int64), joints=np.empty((0, JOINTS, 2)), annotated=np.empty((0, JOINTS), bool),
        boxes=np.empty((0, 4)), head_boxes=np.empty((0, 4)), track_ids=np.empty(0, np.int64),
        person_ids=np.empty(0, np.int64), has_points=np.empty(0, bool),
    )  # fmt: skip


def write_video(root, name, count, *, seed, size=(160, 120)):
    generator = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        path = Path("images") / name / f"{index:06d}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        small = generator.integers(0, 255, (8, 10, 3), dtype=np.uint8)
        cv2.imwrite(str(root / path), cv2.resize(small, size, interpolation=cv2.INTER_CUBIC))
        frames.append(Frame(str(path), index, index))
    return Sequence(name, tuple(frames), empty_truth())


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    videos = (write_video(root, "a", 5, seed=1), write_video(root, "b", 3, seed=2), write_video(root, "c", 4, seed=3))
    return DataSet("made", "val", root, videos, "sha256:labels")


@pytest.fixture
def boxes(data):
    """Sequence b has none; frames come in disorder; the number of people differs."""
    generator = np.random.default_rng(9)
    places = [(0, 3), (0, 0), (0, 3), (0, 1), (2, 0), (2, 2), (2, 2), (2, 2), (0, 4)]
    corner = generator.uniform(-10, 80, (len(places), 2))
    return Columns(
        sequence=np.array([place[0] for place in places]),
        frame=np.array([place[1] for place in places]),
        boxes=np.hstack([corner, corner + generator.uniform(20, 90, (len(places), 2))]),
        scores=generator.uniform(0.2, 1, len(places)),
        track_ids=np.full(len(places), NO_TRACK),
    )


def plain_loop(method, data, boxes):
    """What the field does: for every person read all frames, crop, forward alone, decode, map back."""
    width, height = method.preset.crop.size
    found = []
    for row in np.lexsort((np.arange(len(boxes.frame)), boxes.frame, boxes.sequence)):
        frames = data.sequences[boxes.sequence[row]].frames
        x1, y1, x2, y2 = boxes.boxes[row]
        centre = np.array([x1 + (x2 - x1) / 2, y1 + (y2 - y1) / 2], dtype=np.float32)
        side = np.float32(max(x2 - x1, (y2 - y1) * width / height) / 200) * np.float32(1.25) * np.float32(200)
        source = np.float32([centre, centre - [0, side / 2], centre - [side / 2, side / 2]])
        target = np.float32([[width / 2, height / 2], [width / 2, height / 2 - width / 2], [0, height / 2 - width / 2]])
        clip = []
        for offset in method.preset.support:
            place = min(max(boxes.frame[row] + offset, 0), len(frames) - 1)
            image = cv2.cvtColor(cv2.imread(str(data.root / frames[place].image)), cv2.COLOR_BGR2RGB)
            crop = cv2.warpAffine(image, cv2.getAffineTransform(source, target), (width, height))
            clip.append((crop.astype(np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
        clips = torch.tensor(np.array(clip), dtype=torch.float32).permute(0, 3, 1, 2)[None]
        with torch.no_grad():
            decoded = method.codec.decode(method.module(clips))
        joints = decoded.joints[0].double().numpy() * 4
        back = cv2.getAffineTransform(target, source)
        found.append((joints @ back[:, :2].T + back[:, 2], decoded.scores[0].numpy() * boxes.scores[row]))
    return np.array([item[0] for item in found]), np.array([item[1] for item in found])


@pytest.mark.parametrize("support", [(0,), (0, -1, 1), (-2, -1, 0, 1, 2)])
@pytest.mark.parametrize("workers", [0, 2])
def test_predictions_equal_those_of_a_plain_loop(data, boxes, support, workers):
    method = bright(support)
    found, timings = predict(method, data, boxes, settings=Settings(batch_size=2, workers=workers, look_ahead=2))
    joints, scores = plain_loop(method, data, boxes)
    np.testing.assert_allclose(found.joints, joints, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
    assert found.sequence.tolist() == [0] * 5 + [2] * 4
    assert found.frame.tolist() == [0, 1, 3, 3, 4, 0, 2, 2, 2]
    assert found.person.tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 2]
    assert found.sequence_names == ("a", "b", "c") and found.present.all()
    assert (timings.clips, timings.sequences) == (9, 3)


def test_every_frame_is_decoded_once(data, boxes, monkeypatch):
    read = []
    original = read_image
    monkeypatch.setattr("harness.inference.walk.read_image", lambda path: read.append(path) or original(path))
    _, timings = predict(bright((-1, 0, 1)), data, boxes, settings=Settings(workers=0))
    assert len(read) == len(set(read)) == timings.frames == 5 + 4


def test_method_without_pixels_reads_nothing(data, boxes):
    preset = Preset(CropSpec((48, 64), enlarge=1.0, aspect="stretch"), "coordinates", support=())
    for path in data.root.rglob("*.jpg"):
        path.unlink()
    found, timings = predict(method_of(Centre(), preset), data, boxes)
    order = np.lexsort((boxes.frame, boxes.sequence))
    middles = (boxes.boxes[order, :2] + boxes.boxes[order, 2:]) / 2
    np.testing.assert_allclose(found.joints, np.repeat(middles[:, None], JOINTS, axis=1), atol=1e-4)
    np.testing.assert_allclose(found.scores[:, 0], boxes.scores[order] * 0.5)
    assert timings.frames == 0 and timings.clips == 9


def test_batch_size_changes_nothing_but_noise(data, boxes):
    method = bright((0, 1))
    alone, _ = predict(method, data, boxes, settings=Settings(batch_size=1))
    together, _ = predict(method, data, boxes, settings=Settings(batch_size=64))
    np.testing.assert_allclose(alone.joints, together.joints, atol=1e-4)
    np.testing.assert_allclose(alone.scores, together.scores, rtol=1e-5)


def test_no_boxes_at_all_is_an_empty_answer(data, boxes):
    nobody = Columns(*(getattr(boxes, name)[:0] for name in ("sequence", "frame", "boxes", "scores", "track_ids")))
    found, timings = predict(bright(), data, nobody)
    assert len(found) == 0 and found.joints.shape == (0, JOINTS, 2) and timings.sequences == 3


def test_flip_test_averages_with_the_mirrored_input(data, boxes):
    plain, _ = predict(bright(), data, boxes)
    flipped, _ = predict(bright(), data, boxes, flip=True)
    assert not np.allclose(plain.joints, flipped.joints)
    assert bright().preset.flip_test is False


@pytest.mark.parametrize("stop_after", [1, 2])
def test_interrupted_run_continues_and_ends_the_same(data, boxes, tmp_path, stop_after):
    method, shards = bright((0, -1)), tmp_path / "shards"
    unbroken, _ = predict(method, data, boxes, settings=Settings(batch_size=2))

    class Killed(BaseException):
        pass

    calls = []

    def stop(done, total):
        calls.append((done, total))
        if len(calls) == stop_after:
            raise Killed

    with pytest.raises(Killed):
        predict(method, data, boxes, shards=shards, progress=stop, settings=Settings(batch_size=2))
    (data.root / "images/a/000000.jpg").unlink()
    resumed, timings = predict(method, data, boxes, shards=shards, settings=Settings(batch_size=2))
    assert timings.sequences == 3 - stop_after and timings.resumed == 5
    assert resumed == unbroken
    assert calls[0] == (5, 9)


def run_and_be_killed(data, boxes, shards):
    """Body of a child process: dies of SIGKILL when the first sequence is done."""
    torch.set_num_threads(1)  # a forked process must not enter the parent's thread pool
    predict(
        bright((0, -1)), data, boxes, settings=Settings(batch_size=2), shards=shards,
        progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL),
    )  # fmt: skip


def test_killed_process_loses_only_the_sequence_it_was_at(data, boxes, tmp_path):
    unbroken, _ = predict(bright((0, -1)), data, boxes, settings=Settings(batch_size=2))
    child = multiprocessing.get_context("fork").Process(
        target=run_and_be_killed, args=(data, boxes, tmp_path / "shards")
    )
    child.start()
    child.join(300)
    assert child.exitcode == -signal.SIGKILL
    resumed, timings = predict(
        bright((0, -1)), data, boxes, shards=tmp_path / "shards", settings=Settings(batch_size=2)
    )
    assert timings.sequences == 2 and timings.resumed == 5 and resumed == unbroken


def test_shards_of_another_request_are_refused(data, boxes, tmp_path):
    predict(bright(), data, boxes, shards=tmp_path / "shards")
    with pytest.raises(UsageError, match=r"shards of another request \(boxes, preset_content differ\)"):
        predict(bright((0, 1)), data, replace(boxes, sha256="sha256:other"), shards=tmp_path / "shards")


def test_damaged_shard_is_made_again(data, boxes, tmp_path):
    unbroken, _ = predict(bright(), data, boxes, shards=tmp_path / "shards")
    next((tmp_path / "shards").glob("*-a.parquet")).write_bytes(b"PAR1 and nonsense")
    mended, timings = predict(bright(), data, boxes, shards=tmp_path / "shards")
    assert mended == unbroken and (timings.sequences, timings.resumed) == (1, 4)


def test_no_temporary_file_stays(data, boxes, tmp_path):
    predict(bright(), data, boxes, shards=tmp_path / "shards")
    assert len(list((tmp_path / "shards").iterdir())) == 4 and not list((tmp_path / "shards").glob(".*"))


def test_missing_image_is_named(data, boxes):
    (data.root / "images/c/000002.jpg").unlink()
    with pytest.raises(DataError, match=r"images/c/000002.jpg: cannot read the image \(No such file"):
        predict(bright(), data, boxes)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_truncated_jpeg_is_named(data, boxes, kept):
    path = data.root / "images/a/000003.jpg"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"images/a/000003.jpg: the image is cut short"):
        predict(bright(), data, boxes)


def test_what_is_no_image_is_named():
    for content in (b"", b"hello", b"\x89PNG and no end"):
        with pytest.raises(DataError, match=r"x.jpg: "):
            decode_image(content, name="x.jpg")


def test_jpeg_with_trailing_bytes_and_a_thumbnail_is_fine():
    encoded = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    thumbnail = b"\xff\xe1" + (len(encoded) + 2).to_bytes(2, "big") + encoded
    whole = encoded[:2] + thumbnail + encoded[2:]
    assert decode_image(whole + b"\0\0\n", name="x").shape == (16, 16, 3)
    with pytest.raises(DataError, match="cut short"):
        decode_image(whole[:-5], name="x")


def test_orientation_tag_is_ignored():
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    encoded = cv2.imencode(".jpg", np.zeros((8, 24, 3), np.uint8))[1].tobytes()
    tagged = encoded[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + encoded[2:]
    assert cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR).shape == (24, 8, 3)
    assert decode_image(tagged, name="x").shape == (8, 24, 3)


def test_changing_picture_size_is_named(data, boxes):
    cv2.imwrite(str(data.root / "images/a/000003.jpg"), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match=r"a, frame images/a/000003.jpg: shows a picture of \(80, 60\) px"):
        predict(bright(), data, boxes)


def test_not_a_number_names_method_sequence_and_frame(data, boxes):
    method = bright()
    with torch.no_grad():
        method.module.weight[3] = float("nan")
    with pytest.raises(HarnessError, match=r"method 'bright' \(test\) .* in a, frame images/a/000000.jpg"):
        predict(method, data, boxes)


def test_unusable_choices_are_refused(data, boxes):
    with pytest.raises(UsageError, match="unknown precision 'fp8'"):
        predict(bright(), data, boxes, settings=Settings(precision="fp8"))
    with pytest.raises(UsageError, match="device 'abacus' cannot be used"):
        predict(bright(), data, boxes, settings=Settings(device="abacus"))
    with pytest.raises(UsageError, match="needs a GPU"):
        predict(bright(), data, boxes, settings=Settings(precision="fp16"))


def test_bfloat16_stays_near(data, boxes):
    exact, _ = predict(bright(), data, boxes)
    rough, _ = predict(bright(), data, boxes, settings=Settings(precision="bf16"))
    np.testing.assert_allclose(rough.scores, exact.scores, rtol=0.05)


def test_joints_a_method_does_not_know_are_absent(data, boxes):
    method = bright()
    narrower = replace(method.card, skeleton=replace(method.card.skeleton, names=method.card.skeleton.names[::-1]))
    found, _ = predict(replace(method, card=narrower), data, boxes)
    straight, _ = predict(method, data, boxes)
    assert np.array_equal(found.joints, straight.joints[:, ::-1])


def test_bgr_networks_get_bgr(data, boxes):
    rgb, bgr = bright(), bright()
    preset = replace(bgr.preset, crop=replace(bgr.preset.crop, colour="bgr"))
    swapped = replace(bgr, preset=preset)
    with torch.no_grad():
        swapped.module.weight.copy_(rgb.module.weight.flip(1))
    mean, std = rgb.preset.crop.mean[::-1], rgb.preset.crop.std[::-1]
    swapped = replace(swapped, preset=replace(preset, crop=replace(preset.crop, mean=mean, std=std)))
    one, _ = predict(rgb, data, boxes)
    two, _ = predict(swapped, data, boxes)
    np.testing.assert_allclose(one.joints, two.joints, atol=1e-4)


def test_balanced_batches_cover_everything():
    for count in range(0, 70):
        parts = balanced(count, 8)
        assert [row for part in parts for row in range(part.start, part.stop)] == list(range(count))
        assert all(part.stop - part.start <= 8 for part in parts) and len(parts) == -(-count // 8)


def test_look_ahead_is_bounded():
    drawn, done = [], []

    def jobs():
        for number in range(20):
            drawn.append(number)
            yield number

    for result in run_ahead(lambda job: job, jobs(), workers=2, depth=4):
        done.append(result)
        assert len(drawn) - len(done) <= 4
    assert done == list(range(20))


def test_failing_job_is_raised_in_its_place():
    def half(job):
        return 1 / (job - 2)

    results = run_ahead(half, range(5), workers=2, depth=3)
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_score_rule_is_named():
    assert engine.SCORE_RULE == "decoded score x box score"
