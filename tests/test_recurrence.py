"""A method that carries maps along tracks, run by the engine and by hand, person by person."""

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from golden_fill import fill
from test_engine import write_video
from torch.distributed import HashStore

from baselines.dcpose_adaptive import card, resample
from harness.boxes import Boxes, boxes_from_truth
from harness.codecs import build_codec
from harness.datasets import NO_TRACK, DataSet, open_dataset
from harness.errors import UsageError
from harness.inference import RANDOM, Asked, Loaded, Ranks, Settings, load_method, predict, predict_together
from harness.inference.crops import crop_matrices, image_matrices, mirrored_along_x, transform
from harness.inference.flops import multiply_adds, multiply_adds_of, sizes
from harness.methods import CropSpec
from harness.request import Request, describe

#: (frame, track) of everyone in the first video: one who is there throughout, one who comes late and leaves early, one
#: who is away for a frame, and one whom nobody follows.
PLACES = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (0, 3), (1, 3), (3, 3), (4, 3), (1, NO_TRACK)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataSet:
    root = tmp_path_factory.mktemp("data")
    return DataSet("made", "val", root, (write_video(root, "a", 5, seed=1), write_video(root, "b", 3, seed=2)), "0")


@pytest.fixture(scope="module")
def boxes() -> Boxes:
    """Track 1 does not move; the others do, and change their size."""
    generator = np.random.default_rng(4)
    places = np.array([(0, *place) for place in sorted(PLACES)] + [(1, frame, 9) for frame in range(3)])
    corner = generator.uniform(-10, 60, (len(places), 2))
    extent = generator.uniform(30, 90, (len(places), 2))
    still = places[:, 2] == 1
    corner[still], extent[still] = corner[still][0], extent[still][0]
    return Boxes(
        sequence=places[:, 0], frame=places[:, 1], boxes=np.hstack([corner, corner + extent]),
        scores=np.ones(len(places)), track_ids=places[:, 2], source="made", sha256="sha256:boxes",
    )  # fmt: skip


@pytest.fixture(scope="module")
def method() -> Loaded:
    preset = replace(card.presets["tiny-recurrent"], crop=CropSpec((64, 64)))
    module = fill(card.build(preset.options))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith(("correct.affine", "correct.translation", "backbone.final_layer")):
                parameter *= 0.1
    return Loaded(card, "tiny-recurrent", preset, module.eval(), build_codec(preset))


def matrices_of(boxes: Boxes, row: int, size: tuple[int, int]) -> np.ndarray:
    """Image px to px of a crop of this size: 1.25 times a box made square."""
    x1, y1, x2, y2 = boxes.boxes[row]
    side = np.float32(max(x2 - x1, y2 - y1) / 200) * np.float32(1.25)
    centre = np.float32([[x1 + (x2 - x1) / 2, y1 + (y2 - y1) / 2]])
    return crop_matrices(centre, np.float32([[side, side]]), size)[0]


def by_hand(method: Loaded, data: DataSet, boxes: Boxes) -> np.ndarray:
    """(N,J,2) px: every track on its own, with one map for each frame it is in, from the definition."""
    network, found, last = method.module, [], {}

    def rough(row: int, frame: int) -> torch.Tensor:
        frames = data.sequences[boxes.sequence[row]].frames
        image = cv2.cvtColor(cv2.imread(str(data.root / frames[frame].image)), cv2.COLOR_BGR2RGB)
        crop = cv2.warpAffine(image, matrices_of(boxes, row, (64, 64)), (64, 64))
        clip = (crop.astype(np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        return network.backbone(torch.tensor(clip, dtype=torch.float32).permute(2, 0, 1)[None])

    for row in range(len(boxes)):
        sequence, frame, track = boxes.sequence[row], boxes.frame[row], boxes.track_ids[row]
        final = len(data.sequences[sequence].frames) - 1
        following = rough(row, min(frame + 1, final))
        before = last.get((sequence, frame - 1, track)) if track != NO_TRACK else None
        if before is None:
            current, previous = rough(row, frame), rough(row, max(frame - 1, 0))
        else:
            own, other = (np.vstack([matrices_of(boxes, which, (16, 16)), [0, 0, 1]]) for which in (row, before[0]))
            moved = torch.tensor((other @ np.linalg.inv(own))[None, :2])
            current, previous = (resample(maps, moved) for maps in before[1:])
        corrected = network.fuse(current, previous, following)
        last[sequence, frame, track] = (row, following, corrected)
        decoded = method.codec.decode(corrected)
        back = cv2.invertAffineTransform(matrices_of(boxes, row, decoded.grid))
        found.append(transform(decoded.joints.double().numpy(), back[None])[0])
    return np.array(found)


def test_it_equals_every_track_walked_by_hand(data, boxes, method) -> None:
    calls: list[int] = []
    hook = method.module.backbone.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    found, timings = predict(method, data, boxes, settings=Settings(workers=0))
    hook.remove()
    # six people begin with two maps each; everyone needs one of the following frame
    assert timings.clips == len(boxes) == 15 and sum(calls) == 15 + 2 * 6
    with torch.inference_mode():
        np.testing.assert_allclose(found.joints, by_hand(method, data, boxes), rtol=0, atol=2e-3)


def test_the_past_matters_where_there_is_one(data, boxes, method) -> None:
    plain = replace(method, preset=replace(method.preset, recurrent=()))
    found, every = (predict(each, data, boxes)[0].joints for each in (method, plain))
    apart = np.abs(found - every).max(axis=(1, 2))
    known = np.array([
        (sequence, frame - 1, track) in set(zip(boxes.sequence, boxes.frame, boxes.track_ids, strict=True))
        and track != NO_TRACK
        for sequence, frame, track in zip(boxes.sequence, boxes.frame, boxes.track_ids, strict=True)
    ])  # fmt: skip
    assert known.sum() == 9 and apart[~known].max() < 1e-3 < np.median(apart[known])


@pytest.mark.parametrize(
    "settings",
    [Settings(batch_size=1), Settings(batch_size=2, workers=2), Settings(crop_path="device"), Settings(fold=True)],
)
@pytest.mark.parametrize("flip", [False, True])
def test_batches_and_crop_paths_change_nothing(data, boxes, method, settings, flip) -> None:
    usual, _ = predict(method, data, boxes, flip=flip)
    found, _ = predict(method, data, boxes, flip=flip, settings=settings)
    np.testing.assert_allclose(found.joints, usual.joints, rtol=0, atol=0.05 if settings.fold else 2e-3)
    assert (found == usual) or settings.batch_size or settings.fold


def test_ranks_and_a_resumed_run_give_the_same(data, boxes, method, tmp_path) -> None:
    alone, _ = predict(method, data, boxes)
    store, answers = HashStore(), {}

    def work(rank: int) -> None:
        asked = [Asked(method, boxes, shards=tmp_path / "ranks")]
        answers[rank] = predict_together(asked, data, ranks=Ranks(rank, 2, 1, store))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert answers[0][0][0] == alone
    next((tmp_path / "ranks").glob("000000-*")).unlink()
    again, timings = predict(method, data, boxes, shards=tmp_path / "ranks")
    assert again == alone and (timings.clips, timings.resumed) == (12, 3)


def test_memory_that_does_not_suffice_leaves_the_past_as_it_was(data, boxes, method, monkeypatch) -> None:
    usual, _ = predict(method, data, boxes, settings=Settings(batch_size=1))
    step, failed = method.module.step, []

    def narrow(clips: torch.Tensor, state: torch.Tensor):
        if len(clips) > 1:
            failed.append(step(clips, state))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(clips, state)

    monkeypatch.setattr(method.module, "step", narrow)
    found, timings = predict(method, data, boxes)
    assert failed and timings.batch_size <= 2
    np.testing.assert_allclose(found.joints, usual.joints, rtol=0, atol=1e-5)


def test_mirrored_matrices_are_those_of_mirrored_crops() -> None:
    boxes = np.float32([[40, 50], [44, 47]]), np.float32([[0.3, 0.4], [0.36, 0.48]])
    for geometry in ("plain", "udp"):
        back, there = (
            maker(boxes[0][which : which + 1], boxes[1][which : which + 1], (12, 16), geometry=geometry)
            for maker, which in ((image_matrices, 0), (crop_matrices, 1))
        )
        reach = 47 * 12 / 48 if geometry == "plain" else 11
        point = np.array([[[3.0, 5.0]]])
        straight = transform(transform(point, back), there)
        moved = np.array([np.vstack([there[0], [0, 0, 1]]) @ np.vstack([back[0], [0, 0, 1]])])[:, :2]
        mirrored = mirrored_along_x(moved, width=48, cells=12, geometry=geometry)
        there_mirrored = transform(np.array([[[reach - 3.0, 5.0]]]), mirrored)
        np.testing.assert_allclose(there_mirrored[0, 0], [reach - straight[0, 0, 0], straight[0, 0, 1]], atol=1e-9)


def test_a_probe_needs_clips(data, boxes, method) -> None:
    with pytest.raises(UsageError, match="carries what it saw along tracks"):
        predict_together([Asked(method, boxes, probe=object())], data)


def test_a_step_costs_one_backbone_pass_where_the_plain_mode_has_three(method) -> None:
    counted = {name: operations for name, (_, operations) in sizes(card).items()}
    with torch.device("meta"):
        backbone = multiply_adds(card.build(card.presets["tiny"].options).backbone, torch.zeros(1, 3, 128, 96))
    assert counted["tiny"] - counted["tiny-recurrent"] == 2 * backbone
    assert counted["tiny-recurrent"] == multiply_adds_of(replace(method, preset=card.presets["tiny-recurrent"]))


def test_a_network_that_looks_at_values_has_no_count_by_shapes(method) -> None:
    class Looking(torch.nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return clips if clips.sum().item() > 0 else -clips

    plain = replace(method.preset, recurrent=())
    assert multiply_adds_of(replace(method, preset=plain)) == sizes(card)["tiny"][1] // 3  # 64x64 of 96x128
    assert multiply_adds_of(replace(method, preset=plain, module=Looking())) is None


def test_boxes_without_track_ids_are_told(smoke_val, tmp_path) -> None:
    ready = load_method("dcpose_adaptive", preset="tiny-recurrent", weights=RANDOM)
    dataset = open_dataset("synthtrack-smoke", "val")
    request, tracked = Request(method="dcpose_adaptive", preset="tiny-recurrent"), boxes_from_truth(dataset)
    blind = replace(tracked, track_ids=np.full(len(tracked), NO_TRACK))
    records = [describe(request, ready, dataset, each, recall=None, partial=None) for each in (tracked, blind)]
    assert records[0].warnings == () and "no box has a track id" in records[1].warnings[0]
    assert records[0].inference.recurrent == (1,)
