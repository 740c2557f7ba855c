"""Probes: what each does to pixels, frames and boxes, and that it does the same whatever the batch."""

import json

import cv2
import numpy as np
import pytest
import torch
from hand_scenes import sequence_of, standing
from test_probes_report import change
from test_records import make_record

from harness.boxes import Boxes, boxes_from_truth
from harness.cli.probe import FACTORS
from harness.clips import cut_clips
from harness.codecs import build_codec
from harness.datasets import DataSet
from harness.errors import UsageError
from harness.evaluate import evaluate
from harness.inference import Asked, Loaded, Settings, predict_together
from harness.methods import CropSpec, MethodCard, Preset
from harness.probes import KINDS, probe_cards, probe_named, protocols, studies
from harness.probes.changes import with_rows
from harness.probes.probe import key_places
from harness.probes.protocols import protocol_cells
from harness.probes.studies import study_cells, subject_named
from harness.probes.subjects import Subject, generators, neighbour, true_people
from harness.request import Request
from harness.results import Results
from harness.skeletons import POSETRACK15
from harness.verify import verify

FRAMES = 5


def subject(joints=None, motion=None, part="", seed=0):
    unknown = np.full((15, 2), np.nan)
    return Subject(
        unknown if joints is None else joints, unknown if motion is None else motion, POSETRACK15,
        np.random.default_rng(seed), part,
    )  # fmt: skip


def picture(name):
    return probe_cards[name].picture


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A video of two people, one walking 6 px a frame; every frame and place has a brightness of its own."""
    root = tmp_path_factory.mktemp("probes")
    people, boxes = [], []
    for frame in range(FRAMES):
        for track, x in ((7, 100 + 6 * frame), (8, 400)):
            people.append((frame, track, standing(x, 40)))
            boxes.append([x - 60.0, 30, x + 60, 330])
    video = sequence_of(people, frames=FRAMES, boxes=boxes)
    for frame in video.frames:
        path = root / frame.image
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(frame.index).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(path.with_suffix(".png")), cv2.resize(noise, (640, 480)))
        path.with_suffix(".png").rename(path)
    return DataSet("made", "val", root, (video,), "sha256:x")


class Seen(torch.nn.Module):
    """Keeps the clips it is shown."""

    def __init__(self):
        super().__init__()
        self.clips = []

    def forward(self, clips):
        self.clips.append(clips.clone())
        return clips.mean(1)[:, :1, ::4, ::4].repeat(1, 17, 1, 1)


def shown(data, probe=None, support=(0, -1, 1), batch_size=3):
    preset = Preset(CropSpec((24, 32), mean=(0, 0, 0), std=(1 / 255,) * 3), "heatmap", support=support)
    card = MethodCard("seen", "Seen", "a test", {"test": preset}, lambda options: None, "test")
    module = Seen()
    method = Loaded(card, "test", preset, module, build_codec(preset))
    asked = Asked(method, boxes_from_truth(data), probe=probe)
    found = predict_together([asked], data, settings=Settings(batch_size=batch_size))[0][0]
    return torch.cat(module.clips).numpy(), found


def test_every_probe_reaches_into_one_place_and_can_be_named():
    assert {probe_cards[name].kind for name in probe_cards} == set(KINDS)
    for name in probe_cards:
        card = probe_cards[name]
        assert sum(hook is not None for hook in (card.picture, card.frames, card.clips, card.boxes)) == 1
        for dose in card.doses or (0.0,):
            text = f"{name}={dose:g}" if card.doses else name
            probe = probe_named(text)
            assert probe.dose == dose and str(probe_named(str(probe))) == str(probe)
    assert probe_named("key_noise=40", seed=3).label != probe_named("key_noise=40").label
    assert probe_named("key_blur=4", seed=3).label == probe_named("key_blur=4").label  # no random numbers, no seed


@pytest.mark.parametrize(("text", "said"), [
    ("key_blurr", "did you mean 'key_blur'"), ("key_blur=-1", "above 0"), ("key_blur=x", "above 0"),
    ("key_grey=1.5", "at most 1"), ("key_cutout@toe=0.1", "no part 'toe'"), ("key_blur@wrist", "no parts"),
    ("key_blur=inf", "at most 100"), ("key_noise=nan", "above 0"), ("support_stride=2.5", "whole number"),
    ("boxes_detector=1000", "at most 10"), ("support_frozen=2", "no strength"), ("a b", "names no probe"),
])  # fmt: skip
def test_a_wrong_probe_is_told(text, said):
    with pytest.raises(UsageError, match=said):
        probe_named(text)


def test_a_cutout_is_a_grey_disc_over_both_joints_and_nothing_else():
    joints = np.full((15, 2), np.nan)
    joints[POSETRACK15.index("left_wrist")] = 20, 30
    joints[POSETRACK15.index("left_ankle")] = 50, 80
    crop = np.zeros((100, 60, 3), np.uint8)
    out = picture("key_cutout")(crop, subject(joints, part="wrist"), 0.1)
    assert out[30, 20].tolist() == [128] * 3 and not out[80, 50].any() and not crop.any()
    assert (out[..., 0] > 0).sum() == pytest.approx(np.pi * 10**2, rel=0.05)
    assert not picture("key_cutout")(crop, subject(part="wrist"), 0.1).any()  # nobody known, nothing covered


def test_half_a_person_ends_where_the_joints_do():
    joints = np.full((15, 2), np.nan)
    joints[0], joints[1] = (10, 20), (30, 60)
    crop = np.zeros((100, 60, 3), np.uint8)
    lower = picture("key_half")(crop, subject(joints, part="lower"), 0.25)
    assert not lower[:50].any() and (lower[50:] == 128).all()
    left = picture("key_half")(crop, subject(joints, part="left"), 0.5)
    assert (left[:, :20] == 128).all() and not left[:, 20:].any()


def test_noise_of_another_dose_is_the_same_noise():
    crop = np.full((20, 20, 3), 128, np.uint8)
    weak, strong = (picture("key_noise")(crop, subject(seed=4), dose).astype(float) - 128 for dose in (10, 20))
    np.testing.assert_allclose(strong, 2 * weak, atol=1.5)
    assert weak.std() == pytest.approx(10, rel=0.1)


def test_motion_blur_spreads_along_the_motion_as_far_as_it_goes():
    joints, motion = np.tile([30.0, 30.0], (15, 1)), np.tile([8.0, 0.0], (15, 1))
    crop = np.zeros((60, 60, 3), np.uint8)
    crop[:, 30] = 200
    out = picture("key_motion_blur")(crop, subject(joints, motion), 1.0)[30, :, 0].astype(float)
    assert out.sum() == pytest.approx(200, rel=0.1)
    assert np.flatnonzero(out > 2).min() == 26 and np.flatnonzero(out > 2).max() == 34
    upright = picture("key_motion_blur")(crop, subject(joints, motion[:, ::-1]), 1.0)
    np.testing.assert_array_equal(upright, crop)  # a vertical line, moved along itself
    assert picture("key_motion_blur")(crop, subject(), 1.0) is crop


def test_blur_of_a_point_has_the_height_of_a_gaussian():
    crop = np.zeros((41, 41, 3), np.uint8)
    crop[20, 20] = 255
    peak = picture("key_blur")(crop, subject(), 2.0)[20, 20, 0]
    assert peak == pytest.approx(255 / (2 * np.pi * 4), abs=1)


def test_the_key_frame_is_found_where_it_stands_in(data):
    boxes = boxes_from_truth(data)
    clips = cut_clips(
        data, data.sequences[0], frame=boxes.frame, boxes=boxes.boxes, box_scores=boxes.scores,
        track_ids=boxes.track_ids, support=(0, -1, 1),
    )  # fmt: skip
    places = key_places(clips, data.sequences[0])
    assert places[0].tolist() == [True, True, False]  # before the first frame there is none
    assert places[4].tolist() == [True, False, False]
    assert places[-1].tolist() == [True, False, True]


def test_motion_is_that_of_the_labelled_frames_around(data):
    video = data.sequences[0]
    assert neighbour(video, 4, -1) == (2, 1) and neighbour(video, 0, -1) == (-1, 0)


@pytest.mark.parametrize("text", ["key_noise=40", "key_grey=1", "key_motion_blur=4"])
def test_only_the_key_frame_changes_and_the_batch_decides_nothing(data, text):
    before, _ = shown(data)
    small, found = shown(data, probe_named(text), batch_size=2)
    large, again = shown(data, probe_named(text), batch_size=10)
    np.testing.assert_array_equal(small, large)
    assert found == again
    middle = slice(2, -2)  # away from the ends of the video
    np.testing.assert_array_equal(small[middle, 1:], before[middle, 1:])
    changed = np.abs(small[middle, 0] - before[middle, 0]).max(axis=(1, 2, 3)) > 0
    # of the two people of a frame, one stands still: motion does not blur him
    assert changed.all() if text != "key_motion_blur=4" else changed.tolist() == [True, False] * 3
    np.testing.assert_array_equal(small[0, 0], small[0, 1])  # the stand-in is the key frame too


def test_frozen_reversed_and_one_sided_supports(data):
    before, _ = shown(data)
    key, past, future = before[4]  # frame 2
    frozen, _ = shown(data, probe_named("support_frozen"))
    np.testing.assert_array_equal(frozen[4], np.stack([key] * 3))
    assert not np.array_equal(key, past)
    for text, expected in (("reversed", (key, future, past)), ("past", (key, past, past)),
                           ("future", (key, future, future))):  # fmt: skip
        found, _ = shown(data, probe_named(f"support_{text}"))
        np.testing.assert_array_equal(found[4], np.stack(expected))
    strided, _ = shown(data, probe_named("support_stride=2"))
    np.testing.assert_array_equal(strided[4][1], shown(data, support=(0, -2, 2))[0][4][1])


def test_shuffled_supports_are_another_persons_cut_at_his_box(data):
    before, _ = shown(data)
    found, poses = shown(data, probe_named("support_shuffled"), batch_size=10)
    assert shown(data, probe_named("support_shuffled"), batch_size=2)[1] == poses  # batches are full in another order
    np.testing.assert_array_equal(found[:, 0], before[:, 0])
    for row in range(len(found)):
        donors = [other for other in range(len(found)) if np.array_equal(found[row, 1:], before[other, 1:])]
        assert donors and all(other % 2 != row % 2 for other in donors)  # rows alternate between the two people
    other, _ = shown(data, probe_named("support_shuffled", seed=1), batch_size=10)
    assert not np.array_equal(other, found)


def test_random_numbers_belong_to_sequence_frame_and_person(data):
    frame, person = np.array([0, 0, 1]), np.array([0, 1, 0])
    drawn = [random.random() for random in generators(0, "x", data.sequences[0], frame, person)]
    assert len(set(drawn)) == 3
    assert generators(0, "x", data.sequences[0], frame[2:], person[2:])[0].random() == drawn[2]
    assert generators(1, "x", data.sequences[0], frame[2:], person[2:])[0].random() != drawn[2]


def test_a_box_that_shows_nobody_has_no_subject(data):
    boxes = boxes_from_truth(data)
    clips = cut_clips(
        data, data.sequences[0], frame=boxes.frame[:2], boxes=np.array([boxes.boxes[0], [500.0, 400, 600, 450]]),
        box_scores=boxes.scores[:2], track_ids=boxes.track_ids[:2],
    )  # fmt: skip
    assert true_people(clips, data.sequences[0], np.arange(2)).tolist() == [0, -1]


def many_boxes(data, count=400):
    corners = np.tile([0.0, 0.0, 100.0, 200.0], (count, 1))
    zeros = np.zeros(count, dtype=np.int64)
    return Boxes(zeros, np.sort(np.arange(count) % FRAMES), corners, np.ones(count), np.arange(count), "truth", "x")


def test_jitter_has_the_spread_it_says(data):
    boxes = many_boxes(data)
    found = probe_named("boxes_jitter=0.1").boxes(boxes, data)
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert centres.std(axis=0) == pytest.approx([10, 20], rel=0.15)
    sides = np.log((found.boxes[:, 2:] - found.boxes[:, :2]) / [100, 200])
    assert sides.std(axis=0) == pytest.approx([0.1, 0.1], rel=0.15)
    assert found.sha256 != boxes.sha256 and "jittered by 0.1" in found.source
    assert found.sha256 == probe_named("boxes_jitter=0.1").boxes(boxes, data).sha256


def test_the_made_up_detector_misses_and_doubles(data):
    boxes = many_boxes(data)
    found = probe_named("boxes_detector").boxes(boxes, data)
    assert len(set(found.track_ids.tolist()) & set(range(400))) == pytest.approx(0.93 * 400, abs=20)
    assert 5 < (found.track_ids < 0).sum() < 40 and (found.scores < 1).all()
    assert (np.diff(found.frame) >= 0).all()


def test_what_cannot_be_probed_is_left_out_with_a_reason():
    told = []
    cells = study_cells("time", subject_named("hrnet", Request("")), tell=told.append)
    assert not cells and "looks at no frame but the key frame" in told[0]
    assert len(told) == len(set(told))  # a probe of many strengths is told once
    assert not study_cells("keyframe", subject_named("higher_hrnet", Request("")), tell=told.append)
    assert "takes whole frames" in told[-1]
    assert not study_cells("time", subject_named("dcpose_adaptive:tiny-recurrent", Request("")), tell=told.append)
    assert "along tracks" in told[-1]
    names = [cell.name for cell in study_cells("time", subject_named("fami", Request("")))]
    assert names[0] == "" and {"support_frozen", "support_stride=4", "support_shuffled"} < set(names)
    blind = study_cells("keyframe", subject_named("dual_stream:tiny-token", Request("")))
    assert [cell.name for cell in blind] == ["", "key_grey=1"]
    assert len(study_cells("keyframe", subject_named("fami", Request("")))) > 12


def test_proposals_move_every_box_and_lose_nobody(data):
    boxes = boxes_from_truth(data)
    found = probe_named("boxes_proposal").boxes(boxes, data)
    assert len(found) == len(boxes) and (found.track_ids == boxes.track_ids).all()
    assert (found.boxes != boxes.boxes).any(axis=1).all() and (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    again = probe_named("boxes_proposal").boxes(boxes, data)
    np.testing.assert_array_equal(found.boxes, again.boxes)


def test_protocols_change_one_factor_or_all():
    cells = protocol_cells(subject_named("fami", Request("")))
    assert [cell.name for cell in cells] == [
        "", "boxes_jitter=0.05", "boxes_proposal=1", "boxes_detector=1", "flip", "codec dark", "codec udp",
        "device crops", "bf16",
    ]  # fmt: skip
    whole = protocol_cells(subject_named("higher_hrnet", Request("")), boxes="detections.json")
    assert [cell.name for cell in whole] == ["", "flip", "bf16"]
    told = []
    alone = protocol_cells(subject_named("prtr_end_to_end", Request("")), tell=told.append)
    assert [cell.name for cell in alone] == ["", "bf16"] and any("no flip test" in text for text in told)
    crossed = protocol_cells(subject_named("fami", Request("")), cross=True)
    assert len(crossed) == 4 * 2 * 3 * 2 * 2 and len({cell.name for cell in crossed}) == len(crossed)
    assert all(len(protocol_cells(subject_named("fami", Request("")), only=(name,))) > 1 for name in FACTORS)
    assert tuple(protocols.FACTORS) == FACTORS  # what the command offers
    some = protocol_cells(subject_named("fami", Request("")), cross=True, only=("flip", "decoder"))
    assert [cell.name for cell in some] == [
        "", "codec dark", "codec udp", "flip", "flip, codec dark", "flip, codec udp",
    ]  # fmt: skip


def test_probed_runs_are_partial_and_compared_with_the_untouched_one(harness, tmp_path, smoke_val):
    asked = ("--method", "mean_pose", "--dataset", "synthtrack-smoke", "--device", "cpu", "--results", tmp_path)
    answer = harness("probe", *asked, "--probe", "boxes_jitter=0.1", "--format", "json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)
    total = next(row for row in rows if (row["slice"], row["name"]) == ("all", "total"))
    assert total["difference"] == pytest.approx(total["b"] - total["a"], abs=2e-4)
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    probed = next(record for record in records if record["request"])
    assert probed["request"] == {"probe": "boxes_jitter=0.1 seed 0"}
    assert probed["partial"]["reason"].startswith("probe: boxes_jitter=0.1")
    assert harness("verify", "--results", tmp_path).code == 0
    table = harness("table", "--results", tmp_path)
    assert "probed runs left out: 1" in table.err and "jitter" not in table.out
    assert "probe: boxes_jitter=0.1 seed 0" in harness("table", probed["id"], "--results", tmp_path).out
    assert harness("runs", "show", "mean_pose", "--results", tmp_path).code == 0  # the one nobody probed
    page = harness("report", "probes", "--results", tmp_path, "-o", tmp_path / "page")
    assert page.code == 0, page.err
    assert "boxes_jitter=0.1" in (tmp_path / "page" / "findings.md").read_text()
    assert (tmp_path / "page" / "protocol.png").is_file()


def test_probes_are_listed_and_a_study_needs_somebody(harness):
    assert "key_motion_blur" in harness("probe", "--list").out
    assert harness("probe", "--kind", "time").code == 2
    asked = ("--kind", "keyframe", "--method", "higher_hrnet", "--no-control", "--dataset", "synthtrack-smoke")
    nothing = harness("probe", *asked)
    assert nothing.code == 2 and "nothing of this can be asked" in nothing.err and "Traceback" not in nothing.err


ASKED = ("--method", "mean_pose", "--dataset", "synthtrack-smoke", "--device", "cpu", "--probe", "boxes_jitter=0.1")


def test_an_edited_record_gets_no_new_digest_from_a_probe(harness, tmp_path, smoke_val):
    asked = ("probe", *ASKED, "--results", tmp_path, "--replicates")
    assert harness(*asked, 100).code == 0
    (path,) = [path for path in tmp_path.rglob("record.json") if "jitter" in path.read_text()]
    kept = path.read_bytes()
    document = json.loads(kept)
    document["cost"]["seconds"] = {"forward": 0.001}
    path.write_text(json.dumps(document))
    answer = harness(*asked, 200)
    assert answer.code == 5 and f"{path} was edited after it was written" in answer.err
    assert json.loads(path.read_text()) == document and harness("verify", "--results", tmp_path).code == 5
    path.write_bytes(kept)
    assert harness(*asked, 200).code == 0 and harness("verify", "--results", tmp_path).code == 0
    assert "200/4000" in path.read_text() and "100/4000" not in path.read_text()


def test_records_without_predictions_answer_as_before(harness, tmp_path, smoke_val):
    asked = ("probe", *ASKED, "--results", tmp_path, "--format", "json")
    first = harness(*asked)
    assert len(list(tmp_path.rglob("predictions-*"))) == 2
    again = harness(*asked, "--drop-predictions")
    assert again.code == 0 and again.out == first.out
    (left,) = tmp_path.rglob("predictions-*")
    (path,) = [path for path in tmp_path.rglob("record.json") if path.parent != left.parent]
    stored = json.loads(path.read_text())["predictions"]
    assert stored["kept"] is False and len(stored["sha256"]) > 64
    assert harness(*asked).out == first.out and not list(path.parent.glob("predictions-*"))  # nothing runs again
    found = harness("verify", "--results", tmp_path)
    assert found.code == 0 and f"makes them again, as {stored['sha256']}" in found.out + found.err
    page = harness("report", "probes", "--results", tmp_path, "-o", tmp_path / "page")
    assert page.code == 0 and "boxes_jitter=0.1" in (tmp_path / "page" / "findings.md").read_text()
    fewer = harness(*asked, "--replicates", "200", "--drop-predictions")  # for which they are needed, and made again
    assert fewer.code == 0 and not list(path.parent.glob("predictions-*")) and "200/4000" in path.read_text()
    for verb in (("compare", left.parent.name, path.parent.name), ("export", path.parent.name, "-o", tmp_path / "x")):
        answer = harness(*verb, "--results", tmp_path)
        assert answer.code == 3 and f"{path.parent}: its predictions were not kept" in answer.err, answer
    assert harness(*asked, "--overwrite", "always").out == first.out
    (made,) = path.parent.glob("predictions-*")
    assert json.loads(path.read_text())["predictions"] == {name: stored[name] for name in ("file", "sha256", "rows")}
    made.unlink()  # which is no dropping: nobody asked for it
    assert harness("verify", "--results", tmp_path).code == 5


def test_protocols_of_two_methods_have_gaps_in_every_format_and_lose_no_ordinary_run(harness, tmp_path, smoke_val):
    """Another codec or flip test is a run that somebody may have made before: its predictions are never dropped."""
    two = ("--method", "hrnet", "--method", "hrnet=hrnet-tiny-backbone", "--kind", "protocol")
    shared = (*two, "--dataset", "synthtrack-smoke", "--limit", "1", "--replicates", "100", "--results", tmp_path)
    asked = ("--cross", "--factor", "flip", "--factor", "boxes", "--drop-predictions")
    answer = harness("probe", *shared, *asked, "--format", "json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)
    assert len({row["probe"] for row in rows if row["what"].startswith("gap")}) == 4 * 2
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    kept = {record["id"]: "probe" not in record["request"] for record in records}
    assert len(kept) == 2 * 4 * 2 and sum(kept.values()) == 2 * 2
    assert {path.parent.name for path in tmp_path.rglob("predictions-*")} == {name for name in kept if kept[name]}
    told = harness("probe", *shared, *asked)
    assert told.code == 0 and "under 8 protocols, all combinations of boxes, flip" in told.out
    page = harness("report", "probes", "--results", tmp_path, "-o", tmp_path / "page")
    assert page.code == 0 and len(list((tmp_path / "page").glob("crossing_*.png"))) == 1
    assert "(hrnet-tiny-backbone) - hrnet:tiny (hrnet-tiny)" in (tmp_path / "page" / "findings.md").read_text()


def test_gaps_make_dropped_predictions_again_once_and_keep_what_was_found(harness, tmp_path, smoke_val, monkeypatch):
    made = []

    def noted(request, *rest, **how):
        made.append(request.method)
        return evaluate(request, *rest, **how)

    monkeypatch.setattr(studies, "evaluate", noted)
    asked = ("--kind", "protocol", "--factor", "boxes", "--drop-predictions", "--format", "json")
    shared = (*asked, "--dataset", "synthtrack-smoke", "--limit", "1", "--replicates", "100", "--results", tmp_path)
    assert harness("probe", "--method", "mean_pose", *shared).code == 0
    three = ("probe", "--method", "mean_pose", "--method", "copy_previous", "--method", "hrnet", *shared)
    never = harness(*three, "--overwrite", "never")
    assert never.code == 3 and "its predictions were not kept" in never.err and not made
    found = harness(*three)
    assert found.code == 0 and made == ["mean_pose"] * 3  # each once, for two gaps
    assert {row["method"] for row in json.loads(found.out) if row["what"].startswith("gap")} == {
        "copy_previous:tiny - mean_pose:tiny", "hrnet:tiny - mean_pose:tiny",
    }  # fmt: skip
    records = [json.loads(path.read_text()) for path in tmp_path.rglob("record.json")]
    probed = [record for record in records if "probe" in record["request"]]
    assert len(probed) == 9
    for record in probed:
        assert record["findings"]["cell"] and any(row["what"] == "change" for row in record["findings"]["rows"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "time", "--cross"), "--cross is of --kind protocol"),
        (("--kind", "time", "--factor", "flip"), "--factor is of --kind protocol"),
        (("--kind", "protocol", "--probe", "key_grey"), "--probe names what --kind protocol does not ask"),
        (("--kind", "time", "--probe", "key_grey"), "asks about keyframe, not about time"),
        (("--kind", "keyframe", "--seed", "-1"), "-1 is not in the range"),
        (("--kind", "protocol", "--factor", "boxes", "--method", "higher_hrnet"), "nothing of this protocol"),
        (("--kind", "protocol", "--factor", "crops", "--method", "higher_hrnet"), "'higher_hrnet': it cuts no crops"),
    ],
)
def test_what_does_not_go_together_is_told_before_anything_runs(harness, tmp_path, words, said):
    methods = () if "--method" in words else ("--method", "fami")
    answer = harness("probe", *methods, *words, "--dataset", "synthtrack-smoke", "--results", tmp_path)
    assert answer.code == 2 and said in answer.err and not list(tmp_path.iterdir()), answer.err


def test_ranks_of_torchrun_do_not_each_probe(harness, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    answer = harness("probe", *ASKED, "--results", tmp_path)
    assert answer.code == 2 and "under torchrun take harness eval --probe" in answer.err


def test_the_control_has_weights_and_preset_of_its_own(harness, tmp_path, smoke_val):
    asked = ("--probe", "key_grey=1", "--kind", "keyframe", "--dataset", "synthtrack-smoke", "--limit", "1")
    answer = harness("probe", "--method", "hrnet", "--preset", "tiny", "--weights", "hrnet-tiny", "--codec", "dark",
                     *asked, "--results", tmp_path, "--format", "json")  # fmt: skip
    assert answer.code == 0, answer.err
    assert {row["method"] for row in json.loads(answer.out)} == {"hrnet:tiny", "copy_previous:tiny"}


def test_other_digits_of_a_dose_are_another_probe():
    assert str(probe_named("key_grey=0.99999999")) != str(probe_named("key_grey=1")) == "key_grey=1"
    assert probe_named("key_noise=40", seed=3).title == "key_noise=40 seed 3"
    assert (
        probe_named("key_noise=40").title == "key_noise=40" and probe_named("key_grey=1", seed=3).title == "key_grey=1"
    )


def test_alignment_of_nobody_is_told(harness, tmp_path, smoke_val):
    (tmp_path / "empty.json").write_text("[]")
    asked = ("--method", "fami", "--kind", "alignment", "--dataset", "synthtrack-smoke", "--limit", "1")
    answer = harness("probe", *asked, "--boxes", tmp_path / "empty.json", "--results", tmp_path / "r")
    assert answer.code == 3 and "no joint was followed" in answer.err and "Traceback" not in answer.err


def test_rows_of_two_writers_are_both_kept(tmp_path):
    store = Results(tmp_path)
    run = store.save(make_record())
    row = change("total", -2.0)
    with_rows(store, run, [row], facts={"cell": "flip"})
    both = with_rows(store, run, [row | {"what": "gap, flip"}])  # by whom the record was read before
    assert [found["what"] for found in both.record.findings["rows"]] == ["change", "gap, flip"]
    assert both.record.findings["cell"] == "flip" and verify(both).sound
