"""synthtrack: seeds, files, cache and the truth's own consistency."""

import dataclasses
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest

from harness.datasets import datasets, open_dataset
from harness.datasets.synthtrack import PRESETS, cache, generate
from harness.datasets.synthtrack.background import _crowd, draw_background
from harness.datasets.synthtrack.generate import scene_of, write_sequence
from harness.datasets.synthtrack.labels import label_scene
from harness.datasets.synthtrack.presets import CARD_FILE, VERSION, difficulty_of, sequence_seed, video_name
from harness.datasets.synthtrack.render import Renderer
from harness.datasets.synthtrack.sheet import contact_sheet
from harness.datasets.synthtrack.statistics import headroom, statistics
from harness.datasets.synthtrack.workers import _work, run_workers
from harness.errors import DataError, HarnessError, UsageError
from harness.skeletons import POSETRACK17

SMOKE, MINI = PRESETS["smoke"], PRESETS["mini"]
MINI_SIZE = (MINI.width, MINI.height)

#: sha256 of the four label files of the smoke preset's train split. It changes only together with VERSION.
SMOKE_LABELS = ("1.0", "4215db08d66b4f6fe161fd2734ffbcba0ee79cf92ed9b7e76720740d1384eea2")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    before = os.environ.get("HARNESS_CACHE")
    os.environ["HARNESS_CACHE"] = str(root)
    yield {split: open_dataset("synthtrack-smoke", split) for split in ("train", "val")}
    if before is None:
        del os.environ["HARNESS_CACHE"]
    else:
        os.environ["HARNESS_CACHE"] = before


def test_every_preset_is_registered():
    assert {name for name in datasets if name.startswith("synthtrack")} == {
        "synthtrack", "synthtrack-smoke", "synthtrack-mini", "synthtrack-large", "synthtrack-night",
    }  # fmt: skip
    assert datasets["synthtrack"].splits == ("train", "val", "test")
    assert PRESETS["standard"].splits["val"][0] >= 100


def test_files_are_read_by_the_posetrack21_reader(smoke):
    for split, (count, frames) in SMOKE.splits.items():
        dataset = smoke[split]
        assert (len(dataset), dataset.frame_count) == (count, count * frames)
        assert [sequence.name for sequence in dataset.sequences] == [video_name(split, index) for index in range(count)]
        for sequence in dataset.sequences:
            for frame in sequence.frames:
                assert cv2.imread(str(dataset.image_path(frame))).shape == (SMOKE.height, SMOKE.width, 3)
            assert not sequence.truth.annotated[
                :, [POSETRACK17.index("left_ear"), POSETRACK17.index("right_ear")]
            ].any()
            assert (sequence.truth.annotated | ~sequence.truth.visible).all()
            assert (sequence.truth.visible.sum(axis=1) >= 4).all()


def test_labels_of_a_seed_are_the_same_bytes_everywhere(smoke, tmp_path):
    folder = smoke["train"].root / "posetrack_data" / "train"
    files = sorted(folder.glob("*.json"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert (VERSION, digest) == SMOKE_LABELS
    write_sequence(tmp_path, SMOKE, "train", 2)
    name = video_name("train", 2)
    for relative in (
        f"posetrack_data/train/{name}.json",
        f"extras/train/{name}.json",
        f"images/train/{name}/000003.jpg",
    ):
        assert (tmp_path / relative).read_bytes() == (smoke["train"].root / relative).read_bytes()


def test_another_seed_gives_another_scene():
    first, second = (scene_of(SMOKE, "train", 0, seed=seed) for seed in (0, 1))
    assert first.seed != second.seed
    assert first.camera.focal != second.camera.focal


def test_splits_and_presets_share_no_seed():
    seeds = [
        sequence_seed(PRESETS["large"], split, index)
        for split, (count, _) in PRESETS["large"].splits.items()
        for index in range(count)
    ] + [sequence_seed(SMOKE, split, index) for split, (count, _) in SMOKE.splits.items() for index in range(count)]
    assert len(set(seeds)) == len(seeds)


def test_the_night_shows_the_same_val_scenes_in_another_look_and_trains_on_others():
    night, standard = PRESETS["night"], PRESETS["standard"]
    dark, bright = scene_of(night, "val", 3), scene_of(standard, "val", 3)
    assert dark.seed == bright.seed
    labels = [label_scene(scene, crowd=Renderer(scene).crowd) for scene in (dark, bright)]
    assert np.array_equal(labels[0].joints, labels[1].joints) and np.array_equal(labels[0].hidden, labels[1].hidden)
    pictures = [next(iter(Renderer(scene).frames())).astype(float) for scene in (dark, bright)]
    assert pictures[0].mean() < 0.6 * pictures[1].mean()
    colour = [np.ptp(cv2.blur(picture, (15, 15)), axis=-1).mean() for picture in pictures]
    assert colour[0] < 0.3 * colour[1], "grey but for its noise"
    training = {
        sequence_seed(preset, "train", index)
        for preset in (night, standard)
        for index in range(preset.splits["train"][0])
    }
    assert len(training) == night.splits["train"][0] + standard.splits["train"][0]


def test_val_holds_motions_that_train_does_not():
    def kinds(split):
        return {person.kind for index in range(60) for person in scene_of(MINI, split, index).people}

    held_out = set(difficulty_of("val").held_out)
    assert not {part for kind in kinds("train") for part in kind.split("-")} & held_out
    assert held_out <= {part for kind in kinds("val") for part in kind.split("-")}


def test_a_failure_leaves_nothing_and_the_next_run_mends(tmp_path, monkeypatch):
    root = tmp_path / "train"
    written = []

    def fails_half_way(partial, *rest, **options):
        written.append(partial)
        write_sequence(partial, SMOKE, "train", 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "write_split", fails_half_way)
    with pytest.raises(KeyboardInterrupt):
        cache.make("smoke", "train", root)
    assert written and not written[0].exists() and not root.exists()
    monkeypatch.undo()
    stale = tmp_path / ".train.partial-killed"
    stale.mkdir()
    calls = []
    assert cache.make("smoke", "train", root, progress=lambda done, total: calls.append((done, total))) == root
    assert calls == [(6, 24), (12, 24), (18, 24), (24, 24)]
    assert not stale.exists()
    assert len(list((root / "posetrack_data" / "train").iterdir())) == 4


def test_two_processes_at_once_make_it_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from harness.datasets.synthtrack.cache import make; calls = [];"
        "make('smoke', 'val', Path(sys.argv[1]), progress=lambda *done: calls.append(done)); print(len(calls))"
    )

    def run(_):
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "val")], capture_output=True, text=True, check=True
        )

    with ThreadPoolExecutor(2) as pool:
        counts = sorted(int(done.stdout) for done in pool.map(run, range(2)))
    assert counts == [0, 2]
    assert len(list((tmp_path / "val" / "images" / "val").iterdir())) == 2


def test_who_waited_takes_what_the_other_made_unless_it_is_something_else(tmp_path, monkeypatch):
    def other(seed):
        def wait(lock, kind):
            (tmp_path / "val").mkdir(exist_ok=True)
            (tmp_path / "val" / CARD_FILE).write_bytes(orjson.dumps({"preset": "smoke", "seed": seed}))

        return wait

    monkeypatch.setattr(cache.fcntl, "flock", other(seed=0))
    assert cache.make("smoke", "val", tmp_path / "val") == tmp_path / "val"
    assert [path.name for path in (tmp_path / "val").iterdir()] == [CARD_FILE]
    (tmp_path / "val" / CARD_FILE).unlink()
    monkeypatch.setattr(cache.fcntl, "flock", other(seed=7))
    with pytest.raises(UsageError, match="holds preset 'smoke' with seed 7, not 'smoke' with seed 0"):
        cache.make("smoke", "val", tmp_path / "val")
    for damaged in (b"{", b"3"):
        (tmp_path / "val" / CARD_FILE).write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged; remove the folder"):
            cache.make("smoke", "val", tmp_path / "val")


def test_workers_write_what_one_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "_FEW_FRAMES", 0)
    for workers in (1, 2):
        generate.write_split(tmp_path / str(workers), SMOKE, "val", workers=workers)
    for path in (tmp_path / "1").rglob("*.jpg"):
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()


def test_messages():
    with pytest.raises(UsageError, match="no split 'test'; it has train, val"):
        cache.make("smoke", "test", Path("nowhere"))
    with pytest.raises(UsageError, match="unknown synthtrack preset 'huge'"):
        cache.prepare("huge", "train")


def test_a_cache_that_cannot_be_written_is_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set HARNESS_CACHE"):
        cache.prepare("smoke", "val")


def test_extras_agree_with_the_labels(smoke):
    for path in sorted((smoke["val"].root / "extras" / "val").glob("*.json")):
        extras = orjson.loads(path.read_bytes())
        metres, pixels = np.array(extras["joints_3d"]), np.array(extras["joints_2d"])
        focal = np.array(extras["camera"])[:, 3, None, None]
        centre = (np.array([SMOKE.width, SMOKE.height]) - 1) / 2
        projected = metres[..., :2] / metres[..., 2:] * focal[..., None] + centre
        # Metres are rounded to the millimetre.
        assert np.abs(projected - pixels)[metres[..., 2] > 1].max() < 0.5
        inside, occluder = np.array(extras["inside"]), np.array(extras["occluder"])
        runs = np.array(extras["run_length"])
        assert ((runs > 0) == (occluder > 0)).all()
        assert not occluder[~inside].any()
        assert runs.max() <= SMOKE.splits["val"][1]
        labels = orjson.loads((smoke["val"].root / "posetrack_data" / "val" / path.name).read_bytes())
        hidden = sum(annotation["visibility"].count(1) for annotation in labels["annotations"])
        assert hidden == (occluder[np.array(extras["annotated"])] > 0).sum()


def test_velocity_is_the_motion_between_frames():
    ratios = []
    for index in range(8):
        scene = scene_of(MINI, "train", index)
        labels = label_scene(scene, crowd=np.zeros((0, 2)))
        velocity = labels.blur / (scene.shutter / 360)
        central = (labels.joints[2:] - labels.joints[:-2]) / 2
        moving = np.linalg.norm(central, axis=-1) > 2
        ratios.append(np.linalg.norm(velocity[1:-1], axis=-1)[moving] / np.linalg.norm(central, axis=-1)[moving])
    assert abs(np.median(np.concatenate(ratios)) - 1) < 0.05


def test_ignored_people_swallow_nobody_elses_visible_joints():
    ignored = 0
    for index in range(15):
        scene = scene_of(MINI, "val", index)
        labels = label_scene(scene, crowd=np.zeros((0, 2)))
        ignored += sum(len(regions) for regions in labels.regions)
        for frame, regions in enumerate(labels.regions):
            people = labels.annotated[frame]
            seen = labels.joints[frame, people][(labels.inside & ~labels.hidden)[frame, people]]
            inner = sum(
                cv2.pointPolygonTest(region.astype(np.float32), (float(x), float(y)), True) > 1.5
                for region in regions
                for x, y in seen
            )
            # A joint counts as visible with 40 % of its disc free, so its centre may just be covered.
            assert inner <= 0.05 * len(seen)
    assert ignored > 10


def test_a_painted_crowd_lies_in_its_region_of_every_frame():
    """Nothing is painted outside the outline, and the region is where the camera sees the outline."""
    painted = 0
    for seed in range(5):
        canvas = np.full((388, 844, 3), 7, np.uint8)
        outline = _crowd(canvas, np.random.default_rng(seed), horizon=150.0, unit=1.0)
        changed = np.argwhere((canvas != 7).any(axis=2))[:, ::-1]
        assert (changed >= outline.min(axis=0) - 0.5).all() and (changed <= outline.max(axis=0) + 0.5).all()
        painted += len(changed)
    assert painted > 1000
    scene = next(scene for index in range(60) if len(draw_background(scene := scene_of(MINI, "train", index))[1]))
    outline = draw_background(scene)[1]
    still = dataclasses.replace(scene, frames=2)
    there, none = (label_scene(still, crowd=crowd).regions for crowd in (outline, np.zeros((0, 2))))
    beyond = label_scene(still, crowd=outline + np.array([5e3, 0])).regions
    for frame in range(2):
        (region,) = there[frame][: len(there[frame]) - len(none[frame])]
        assert (region >= 0).all() and (region <= np.array(MINI_SIZE) - 1).all() and np.ptp(region, axis=0).min() > 2
        assert len(beyond[frame]) == len(none[frame])


def test_a_sheet_shows_each_scene_with_its_labels_and_later():
    """Two scenes beside each other: a frame, the same drawn upon, the frame `apart` later, each as large as made."""
    scenes = [scene_of(SMOKE, "train", index) for index in range(2)]
    sheet = contact_sheet(scenes, apart=3, scale=2.0)
    height, width = 2 * SMOKE.height, 2 * SMOKE.width
    assert sheet.shape == (height, 2 * 3 * width, 3)
    frames = list(Renderer(scenes[1]).frames())
    second = sheet[:, 3 * width :]
    for place, frame in ((0, frames[0]), (2, frames[3])):
        wanted = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_array_equal(second[:, place * width : (place + 1) * width], wanted)
    assert (second[:, width : 2 * width] != second[:, :width]).any()


def test_statistics_lie_where_the_data_card_says():
    dataset_statistics = {}
    for split in ("train", "val"):
        hidden = annotated = 0
        for index in range(16):
            labels = label_scene(scene_of(MINI, split, index), crowd=np.zeros((0, 2)))
            known = labels.inside & labels.annotated[..., None]
            hidden, annotated = hidden + (known & labels.hidden).sum(), annotated + known.sum()
        dataset_statistics[split] = hidden / annotated
    assert 0.15 < dataset_statistics["train"] < 0.27
    assert 0.18 < dataset_statistics["val"] < 0.30


def test_statistics_of_a_data_set(smoke):
    table = statistics(smoke["train"])
    assert 1 <= table["people mean"] <= 8
    assert table["persons occluded 0"] <= 1
    share = headroom(smoke["train"])
    assert all(0 <= hit <= seen <= 1 for seen, hit in share.values())
    assert share[1][0] <= share[2][0] <= share[5][0]


def test_motion_blur_smears_what_moves_and_only_that():
    for index in range(40):
        scene = scene_of(MINI, "val", index)
        if scene.people[0].motion.kind in ("run", "jack") and not scene.slabs:
            frames = list(Renderer(scene).frames())
            assert all(frame.shape == (216, 384, 3) and frame.std() > 5 for frame in frames)
            assert np.abs(np.diff([frame.astype(int).mean() for frame in frames])).max() < 25
            return
    pytest.fail("no fast scene without objects among the first 40")


def test_a_worker_writes_its_sequences_and_tells_the_frames_of_each(tmp_path, smoke, capsys):
    threads = cv2.getNumThreads()
    _work(str(tmp_path), "smoke", "val", "0", "1", "0")
    cv2.setNumThreads(threads)
    assert capsys.readouterr().out.split() == [str(SMOKE.splits["val"][1])] * 2
    for path in tmp_path.rglob("*.json"):
        assert path.read_bytes() == (smoke["val"].root / path.relative_to(tmp_path)).read_bytes()
    assert len(list(tmp_path.rglob("*.json"))) == 4  # labels and extras of two sequences


def test_a_worker_that_fails_says_why(tmp_path):
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(HarnessError, match=r"a worker stopped with code 1: .*images"):
        list(run_workers([[str(tmp_path), "smoke", "train", "0", "0"]]))


def test_stopping_half_way_stops_the_workers(tmp_path):
    started = time.monotonic()
    numbers = [str(index) for index in range(600)]
    for _ in run_workers([[str(tmp_path), "standard", "train", "0", *numbers]]):
        break
    assert time.monotonic() - started < 30
