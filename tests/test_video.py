"""A user's video: decoded as OpenCV decodes it, predicted from boxes by frame number, drawn over and written again."""

import builtins
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.cli import run
from harness.datasets import NO_TRACK
from harness.errors import DataError, HarnessError
from harness.predictions import read_parquet

av = pytest.importorskip("av", reason="PyAV (the extra `video`) is not installed")

from harness.video import VideoFrames, decoded, open_video, video_boxes, video_dataset, write_video  # noqa: E402

SAMPLE = Path(__file__).parents[2] / "shared" / "real" / "posetrack18_sample"
REAL = SAMPLE / "videos" / "000001_mpiinew_test" / "000001_mpiinew_test.mp4"


def picture(number, size=(64, 48)):
    """A bar that moves 4 px a frame over a slope."""
    drawn = np.tile(np.linspace(0, 120, size[0]).astype(np.uint8)[None, :, None], (size[1], 1, 3))
    drawn[:, 4 * number : 4 * number + 8] = (40, 90, 250)
    return drawn


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    assert write_video(path, (picture(number) for number in range(12)), rate=Fraction(25)) == 12
    return path


def box(frame, **other):
    return {"frame_id": frame, "bbox": [8.0, 4.0, 30.0, 40.0], "score": 0.9, "category_id": 1, **other}


def write_boxes(path, entries):
    path.write_text(json.dumps(entries))
    return path


def by_opencv(path, upright=True):
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, float(upright))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def test_frames_are_those_of_opencv(clip):
    ours, theirs = list(decoded(clip)), by_opencv(clip)
    assert len(ours) == len(theirs) == 12
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours[5].astype(int) - picture(5)).mean() < 5


def test_what_is_known_of_a_video(clip):
    video = open_video(clip)
    assert (video.frames, video.size, video.rate) == (12, (64, 48), Fraction(25))
    dataset = video_dataset(video)
    assert dataset.frame_count == 12 and dataset.fingerprint.startswith("sha256:")
    assert dataset.sequences[0].frames[7].index == 7 and dataset.sequences[0].labelled.all()


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_turned_videos_are_set_upright(tmp_path, degrees):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="bgr24")))
        container.mux(stream.encode(None))
    assert next(decoded(path)).shape[:2] == ((48, 64) if degrees == 180 else (64, 48))
    np.testing.assert_array_equal(list(decoded(path)), by_opencv(path))


def test_frames_are_read_in_any_order(clip):
    frames, read = list(decoded(clip)), VideoFrames(clip)
    for number in (0, 1, 4, 4, 2, 11, 4, 3, 10, 0):
        np.testing.assert_array_equal(read(Path(f"clip/{number:06d}.jpg")), frames[number])
    with pytest.raises(DataError, match=r"clip.mp4: has no frame 12"):
        read(Path("clip/000012.jpg"))


def test_each_frame_is_decoded_once_on_the_way_forward(clip, monkeypatch):
    starts = []
    monkeypatch.setattr("harness.video.decoded", lambda path: starts.append(path) or decoded(path))
    read = VideoFrames(clip)
    for number in (1, 0, 2, 7, 6, 11, 4):
        read(Path(f"{number}.jpg"))
    assert len(starts) == 1
    read(Path("3.jpg"))
    assert len(starts) == 2


def test_odd_sides_lose_a_line(tmp_path):
    write_video(tmp_path / "odd.mp4", [picture(0, (65, 49))] * 2, rate=Fraction(30000, 1001))
    video = open_video(tmp_path / "odd.mp4")
    assert (video.size, video.rate) == ((64, 48), Fraction(30000, 1001))


def test_an_interrupted_video_leaves_nothing(tmp_path):
    def pictures():
        yield picture(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "out.mp4", pictures(), rate=Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_broken_videos_are_named(tmp_path, clip):
    with pytest.raises(DataError, match=r"none.mp4: no such video file"):
        open_video(tmp_path / "none.mp4")
    words = tmp_path / "words.mp4"
    words.write_text("this is no video " * 100)
    with pytest.raises(DataError, match=r"words.mp4: not a readable video"):
        open_video(words)
    half = tmp_path / "half.mp4"
    half.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(DataError, match=r"half.mp4"):
        open_video(half)


def test_a_video_cut_short_after_its_index_is_named(tmp_path):
    """With the index in front the rest of the file may be missing and still open."""
    path = tmp_path / "fast.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.options = 64, 64, "yuv420p", {"bf": "0", "g": "1"}
        for item in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(item, format="bgr24")))
        container.mux(stream.encode(None))
    assert open_video(path).frames == 30
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"fast.mp4: (cut short: \d+ of the 30 frames|frame \d+ cannot be decoded)"):
        open_video(path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(DataError, match=r"sound.wav: has no pictures"):
        open_video(path)


def test_boxes_are_found_by_frame_number_from_zero(tmp_path, clip):
    dataset = video_dataset(open_video(clip))
    entries = [box(11), {**box(0), "track_id": 4}, {**box(3), "category_id": 2}, {**box(2), "score": 0.1}]
    by_image = {key: value for key, value in box(5).items() if key != "frame_id"} | {"image_id": 5}
    boxes = video_boxes(write_boxes(tmp_path / "b.json", [*entries, by_image]), dataset)
    assert boxes.frame.tolist() == [0, 5, 11] and boxes.track_ids.tolist() == [4, NO_TRACK, NO_TRACK]
    assert boxes.boxes[0].tolist() == [8.0, 4.0, 38.0, 44.0]


def test_boxes_of_no_frame_are_named(tmp_path, clip):
    dataset = video_dataset(open_video(clip))
    with pytest.raises(
        DataError, match=r"b.json: box 1 \(12\): belongs to no frame of video clip \(1 of 2 boxes do not"
    ):
        video_boxes(write_boxes(tmp_path / "b.json", [box(1), box(12)]), dataset)
    with pytest.raises(DataError, match=r"c.json: no box of category 1 scores 0.2 or more"):
        video_boxes(write_boxes(tmp_path / "c.json", [box(1, score=0.05)]), dataset)
    with pytest.raises(DataError, match=r"image_name or frame_id or image_id"):
        video_boxes(write_boxes(tmp_path / "d.json", {"boxes": []}), dataset)


def test_predict_writes_poses_and_an_overlay(tmp_path, clip, capfd):
    boxes = write_boxes(tmp_path / "b.json", [box(number) for number in range(12)])
    arguments = ["predict", "--method", "hrnet", "--weights", "random", "--video", str(clip), "--boxes", str(boxes)]
    assert run([*arguments, "--track", "oks", "-o", str(tmp_path / "out")]) == 0
    printed = [Path(line) for line in capfd.readouterr().out.split()]
    assert printed == [tmp_path / "out" / name for name in ("predictions.parquet", "posetrack18", "overlay.mp4")]
    found = read_parquet(printed[0])
    assert found.frame.tolist() == list(range(12)) and set(found.track_ids.tolist()) == {0}
    document = json.loads((printed[1] / "clip.json").read_text())
    assert len(document["images"]) == len(document["annotations"]) == 12
    drawn = list(decoded(printed[2]))
    assert len(drawn) == 12
    assert np.abs(drawn[6].astype(int) - picture(6)).max() > 100  # lines and circles stand out
    assert not (tmp_path / "out" / "unfinished").exists()


def test_predict_sees_the_frames_of_the_video(tmp_path, clip):
    """The same pictures as files, in a data set, give the same poses."""
    from harness.boxes import boxes_from_file
    from harness.inference import load_method, predict
    from harness.video import video_dataset

    boxes = write_boxes(tmp_path / "b.json", [{**box(n), "image_id": n} for n in (0, 5, 6, 11)])
    data = video_dataset(open_video(clip))
    ready = load_method("hrnet", weights="random")
    chosen = boxes_from_file(boxes, data)
    direct, _ = predict(ready.method, data, chosen, read=VideoFrames(clip))
    pictures = list(decoded(clip))
    again, _ = predict(ready.method, data, chosen, read=lambda path: pictures[int(path.stem)])
    assert direct == again and len(direct) == 4


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (["--boxes", "truth"], 2, "a video has no labels; say with --boxes FILE where the people are"),
        (["--boxes", "none.json"], 3, "none.json"),
        (["--boxes", "none.json", "--data-root", "."], 2, "--video and --data-root exclude one another"),
        (["--boxes", "none.json", "--limit", "3"], 2, "--video and --limit exclude one another"),
        (["--boxes", "none.json", "--nms-threshold", "0.5"], 2, "--nms-threshold is the threshold of --nms"),
    ],
)
def test_user_errors(tmp_path, clip, capfd, extra, code, words):
    arguments = ["predict", "--method", "hrnet", "--weights", "random", "--video", str(clip), "-o", str(tmp_path / "o")]
    assert run([*arguments, *extra]) == code
    assert words in capfd.readouterr().err
    assert not (tmp_path / "o").exists()


def test_without_pyav_the_remedy_is_named(clip, monkeypatch):
    genuine = builtins.__import__
    monkeypatch.setattr(
        "harness.video.importlib.import_module", lambda name: genuine("no_such_module") if name == "av" else None
    )
    with pytest.raises(HarnessError, match=r"videos need PyAV .*pip install 'vidpose-harness\[video\]'"):
        open_video(clip)


@pytest.mark.skipif(not REAL.is_file(), reason="the real video is not at hand")
def test_a_real_video_is_read_as_opencv_reads_it():
    assert open_video(REAL).frames == 5
    np.testing.assert_array_equal(list(decoded(REAL)), by_opencv(REAL))
