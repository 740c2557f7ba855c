"""Several methods in one pass, ranks, and the settings that change rounding only."""

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_engine import Columns, boxes, bright, data  # noqa: F401
from torch.distributed import HashStore

from harness.errors import DataError, HarnessError, UsageError
from harness.inference import Asked, Ranks, Settings, predict, predict_together
from harness.inference.images import read_image
from harness.inference.shards import Shards, in_use
from harness.inference.spread import batch_spread

SMALL = Settings(batch_size=2)
EMPTY = Columns(
    np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
)  # fmt: skip


def boxed(boxes, rows):  # noqa: F811
    columns = ("sequence", "frame", "boxes", "scores", "track_ids")
    return replace(boxes, sha256="sha256:some", **{name: getattr(boxes, name)[rows] for name in columns})


def test_methods_of_one_pass_answer_as_alone(data, boxes):  # noqa: F811
    methods = [bright((0,)), bright((-1, 0, 1)), bright((0, 1), flip_test=True)]
    together = predict_together([Asked(method, boxes) for method in methods], data, settings=SMALL)
    for method, (found, timings) in zip(methods, together, strict=True):
        alone, _ = predict(method, data, boxes, settings=SMALL)
        assert found == alone and timings.clips == 9


def test_one_pass_reads_every_frame_once_and_cuts_shared_crops_once(data, boxes, monkeypatch):  # noqa: F811
    read, cuts = [], []
    warp = cv2.warpAffine
    monkeypatch.setattr("harness.inference.walk.read_image", lambda path: read.append(path) or read_image(path))
    monkeypatch.setattr("harness.inference.crops.cv2.warpAffine", lambda *a, **k: cuts.append(1) or warp(*a, **k))
    methods = [bright((0,)), bright((-1, 0, 1)), bright((0, -1, 1))]
    predict_together([Asked(method, boxes) for method in methods], data, settings=SMALL)
    shared = len(cuts)
    assert len(read) == len(set(read))
    cuts.clear()
    predict(methods[1], data, boxes, settings=SMALL)
    assert shared == len(cuts)


def test_methods_may_look_at_other_boxes(data, boxes):  # noqa: F811
    some = boxed(boxes, np.array([0, 4, 5]))
    (all_found, _), (few_found, _) = predict_together([Asked(bright(), boxes), Asked(bright(), some)], data)
    assert len(all_found) == 9 and few_found == predict(bright(), data, some)[0]


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_crop_paths_give_the_same_poses(data, boxes, colour):  # noqa: F811
    method = bright((-1, 0))
    method = replace(method, preset=replace(method.preset, crop=replace(method.preset.crop, colour=colour)))
    reference, _ = predict(method, data, boxes, settings=SMALL)
    sampled, timings = predict(method, data, boxes, settings=replace(SMALL, crop_path="device"))
    assert sampled == reference and timings.crop == 0 < timings.sample


def test_automatic_halving_gives_the_poses_of_smaller_batches(data, boxes):  # noqa: F811
    method = bright((0, 1))
    forward = type(method.module).forward

    class Large(type(method.module)):
        def forward(self, clips):
            if len(clips) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(self, clips)

    method.module.__class__ = Large
    found, timings = predict(method, data, boxes, settings=Settings(batch_size=8))
    np.testing.assert_allclose(found.joints, predict(bright((0, 1)), data, boxes)[0].joints, atol=1e-4)
    assert timings.batch_size == 2


def test_a_clip_that_fits_no_memory_is_an_error(data, boxes):  # noqa: F811
    method = bright()

    class Endless(type(method.module)):
        def forward(self, clips):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    method.module.__class__ = Endless
    with pytest.raises(HarnessError, match="one clip does not fit the memory of cpu"):
        predict(method, data, boxes)


def test_keep_going_keeps_everything_else_and_names_what_failed(data, boxes, tmp_path):  # noqa: F811
    broken, other = data.root / "images/a/000003.jpg", data.root / "images/c/000002.jpg"
    kept = broken.read_bytes(), other.read_bytes()
    broken.write_bytes(b"")
    cv2.imwrite(str(other), np.zeros((60, 80, 3), np.uint8))
    going = replace(SMALL, keep_going=True)
    with pytest.raises(DataError) as caught:
        predict(bright(), data, boxes, settings=going, shards=tmp_path)
    assert "2 sequences failed" in str(caught.value) and "a/000003.jpg" in str(caught.value)
    assert "c, frame images/c/000002.jpg: shows a picture" in str(caught.value)
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["000001-b.parquet"]
    broken.write_bytes(kept[0])
    other.write_bytes(kept[1])
    mended, timings = predict(bright(), data, boxes, settings=going, shards=tmp_path)
    assert mended == predict(bright(), data, boxes, settings=SMALL)[0] and timings.sequences == 2


def test_a_failing_method_does_not_stop_another(data, boxes, tmp_path):  # noqa: F811
    bad = bright()
    with torch.no_grad():
        bad.module.weight[0] = float("nan")
    asked = [Asked(bad, boxes, shards=tmp_path / "bad"), Asked(bright((0, 1)), boxes, shards=tmp_path / "good")]
    with pytest.raises(HarnessError, match="not a number in a"):
        predict_together(asked, data, settings=replace(SMALL, keep_going=True))
    assert len(list((tmp_path / "good").glob("*.parquet"))) == 3


@pytest.mark.parametrize(
    ("reason", "message"),
    [("parquet", "a.parquet: cannot be written"), ("request", "shards: finished sequences cannot be kept there")],
)
def test_full_disk_is_named_at_once(data, boxes, tmp_path, monkeypatch, reason, message):  # noqa: F811
    def full(path, mode="r", *others, **more):
        if reason in path.name and mode == "xb":
            raise OSError(28, "No space left on device")
        return opened(path, mode, *others, **more)

    opened = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(HarnessError, match=f"{message} .No space left"):
        predict(bright(), data, boxes, shards=tmp_path / "shards", settings=replace(SMALL, keep_going=True))


def test_ranks_share_the_sequences_and_the_first_has_all(data, boxes, tmp_path):  # noqa: F811
    store, answers = HashStore(), {}

    def work(rank):
        asked = [
            Asked(bright((0, -1)), boxes, shards=tmp_path / "one"),
            Asked(bright(), boxes, shards=tmp_path / "two"),
        ]
        answers[rank] = predict_together(asked, data, settings=SMALL, ranks=Ranks(rank, 2, 1, store))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert answers[1] == []
    for (found, timings), method in zip(answers[0], (bright((0, -1)), bright()), strict=True):
        assert found == predict(method, data, boxes, settings=SMALL)[0]
        assert timings.clips == 9 and timings.sequences == 3


def test_ranks_hand_out_every_number_once_and_longest_first():
    store = HashStore()
    one, two = (Ranks(rank, 2, 1, store).named("job") for rank in range(2))
    first, second = one.shared([[5], [3], [9]]), two.shared([[5], [3], [9]])
    assert [next(first), next(second), next(first)] == [5, 3, 9]
    assert not list(second) and not list(first)


def test_very_many_sequences_are_handed_out_several_at_once():
    store, numbers = HashStore(), list(range(1000))
    groups = [[number] for number in numbers]
    one, two = (Ranks(rank, 2, 1, store).named("job").shared(groups) for rank in range(2))
    found = [next(one), *two, *one]
    assert sorted(found) == numbers and store.num_keys() == 1
    assert int(store.get("job/next")) >= 1000


def test_very_many_shards_lie_in_folders_of_a_thousand(data, tmp_path):  # noqa: F811
    many = replace(data, sequences=data.sequences * 400)
    shards = Shards(tmp_path, many, {})
    nobody = predict(bright(), replace(data, sequences=data.sequences[:1]), boxed(EMPTY, slice(0)))[0]
    shards.save(1002, nobody)
    assert [path.name for path in tmp_path.glob("0001/*.parquet")] == ["001002-a.parquet"]
    assert shards.load(1002) == nobody and shards.load(3) is None


@pytest.fixture
def grouped(monkeypatch):
    """Files of two sequences, as if there were more than 65,536 of them."""
    monkeypatch.setattr("harness.inference.shards._MOST_FILES", 2)


def test_very_many_sequences_share_files(data, boxes, tmp_path, grouped):  # noqa: F811
    alone, _ = predict(bright(), data, boxes, settings=SMALL)
    found, _ = predict(bright(), data, boxes, settings=SMALL, shards=tmp_path)
    assert found == alone and sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "000000-a.parquet", "000002-c.parquet",
    ]  # fmt: skip
    (data.root / "images/a/000000.jpg").unlink()
    (tmp_path / "000002-c.parquet").write_bytes(b"damaged")
    again, timings = predict(bright(), data, boxes, settings=SMALL, shards=tmp_path)
    assert again == alone and (timings.resumed, timings.sequences) == (5, 1)


def test_a_group_that_fails_in_part_is_kept_in_part(data, boxes, tmp_path, grouped):  # noqa: F811
    path = data.root / "images/a/000003.jpg"
    content = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(DataError, match="1 sequences failed"):
        predict(bright(), data, boxes, settings=replace(SMALL, keep_going=True), shards=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    path.write_bytes(content)
    found, timings = predict(bright(), data, boxes, settings=SMALL, shards=tmp_path)
    assert found == predict(bright(), data, boxes, settings=SMALL)[0] and timings.sequences == 1


def test_ranks_work_on_whole_groups(data, boxes, tmp_path, grouped):  # noqa: F811
    store, answers = HashStore(), {}

    def work(rank):
        asked = [Asked(bright(), boxes, shards=tmp_path)]
        answers[rank] = predict_together(asked, data, settings=SMALL, ranks=Ranks(rank, 2, 1, store))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert answers[0][0][0] == predict(bright(), data, boxes, settings=SMALL)[0]
    assert int(store.get("next")) >= 2


def test_ranks_without_a_folder_are_refused(data, boxes):  # noqa: F811
    with pytest.raises(UsageError, match="need a folder"):
        predict_together([Asked(bright(), boxes)], data, ranks=Ranks(0, 2, 1, HashStore()))


def test_spread_between_batch_sizes_is_measured(data, boxes):  # noqa: F811
    asked, settings = Asked(bright((0, 1)), boxes), Settings()
    found, timings = predict(asked.method, data, boxes)
    spread = batch_spread(asked, data, found, settings=settings, batch_size=timings.batch_size)
    assert spread["clips"] == 4 and spread["batch_sizes"] == [32, 1]
    assert spread["joints_px"] < 1e-3 and spread["scores"] < 1e-3
    moved = replace(found, joints=found.joints + 2)
    again = batch_spread(asked, data, moved, settings=settings, batch_size=timings.batch_size)
    assert again["joints_px"] == pytest.approx(2, abs=1e-3)


def test_deterministic_runs_put_the_switch_back(data, boxes):  # noqa: F811
    exact, _ = predict(bright(), data, boxes, settings=Settings(deterministic=True))
    assert exact == predict(bright(), data, boxes)[0] and not torch.are_deterministic_algorithms_enabled()


def test_folding_moves_poses_by_rounding_only(data, boxes):  # noqa: F811
    plain, _ = predict(bright(), data, boxes)
    assert predict(bright(), data, boxes, settings=Settings(fold=True))[0] == plain


def test_unknown_crop_path_is_refused(data, boxes):  # noqa: F811
    with pytest.raises(UsageError, match="unknown crop path 'best'"):
        predict(bright(), data, boxes, settings=Settings(crop_path="best"))


def test_folder_in_use_goes_with_its_last_user(tmp_path):
    folder = tmp_path / "unfinished"
    with in_use(folder):
        (folder / "shard").write_bytes(b"x")
        with pytest.raises(HarnessError, match="another run of the same request"), in_use(folder, emptied=True):
            pass
        with in_use(folder):
            pass
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(ValueError), in_use(folder):
        raise ValueError
    assert folder.is_dir()
