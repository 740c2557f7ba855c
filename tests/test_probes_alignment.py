"""Alignment: measures of maps whose answers are known, and networks that say how they align."""

import io
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_records import make_record
from torch.nn.functional import grid_sample

from harness.arrays import read_arrays
from harness.boxes import boxes_from_truth
from harness.clips import cut_clips
from harness.datasets import NO_TRACK, open_dataset
from harness.errors import DataError
from harness.methods import methods
from harness.probes.alignment import alignment_rows
from harness.probes.changes import with_rows
from harness.probes.watching import Places, Watch, measures_at_joints, measures_of_maps, places_of
from harness.report.probe_maps import read_maps
from harness.results import MAPS_FILE, Results
from harness.verify import verify

GRID = (16, 12)


def shifted_maps(x=2, y=1, *, aligned):
    """A support that lies (x, y) cells beside the key frame; its alignment is perfect or does nothing."""
    torch.manual_seed(0)
    key = torch.randn(1, 8, *GRID)
    before = torch.roll(key, (y, x), dims=(2, 3))[None]
    heat = torch.zeros(1, 2, *GRID)
    heat[0, 0, 8, 5] = heat[0, 1, 10, 6] = 1
    read_before = torch.roll(heat, (y, x), dims=(2, 3))[None]
    offsets = torch.zeros(1, 1, 2, *GRID)
    if aligned:
        offsets[:, :, 0], offsets[:, :, 1] = x, y
    maps = {
        "key": key, "before": before, "after": key[None] if aligned else before, "offsets": offsets,
        "read_before": read_before, "read_after": heat[None] if aligned else read_before, "gathered": 3 * key,
    }  # fmt: skip
    joints = np.array([[[5.0, 8.0], [6.0, 10.0]]])
    return maps, Places(joints, (joints + np.array([x, y]))[None], np.array([2.0]), ("a", "b"))


def test_perfect_alignment_reads_the_key_frame():
    found = measures_at_joints(*shifted_maps(aligned=True))
    assert found["moved"] == pytest.approx([5**0.5] * 2)
    for name, value in {"hit_before": 0, "hit_after": 1, "hit_own": 1, "error": 0, "near_zero": 0}.items():
        assert found[name] == pytest.approx([value] * 2), name
    assert found["cosine_after"] == pytest.approx([1, 1]) and found["cosine_perfect"] == pytest.approx([1, 1])
    assert (found["cosine_before"] < 0.9).all()


def test_no_alignment_is_as_far_off_as_joints_moved():
    found = measures_at_joints(*shifted_maps(aligned=False))
    assert found["error"] == pytest.approx([5**0.5] * 2) and found["error_zero"] == pytest.approx([5**0.5] * 2)
    assert found["near_zero"].all() and not found["hit_after"].any()
    assert found["cosine_after"] == pytest.approx(found["cosine_before"])


def test_joints_beyond_the_map_or_unknown_are_left_out():
    maps, places = shifted_maps(aligned=True)
    places.key[0, 0] = np.nan
    places.support[0, 0, 1] = [12.5, 3]
    assert len(measures_at_joints(maps, places)["moved"]) == 0


def test_who_has_no_track_is_nobody_elsewhere(smoke_val):
    data = open_dataset("synthtrack-smoke", "val", root=smoke_val)
    boxes = boxes_from_truth(data)
    sequence, mine = data.sequences[0], boxes.sequence == 0
    clips = cut_clips(
        data, sequence, frame=boxes.frame[mine], boxes=boxes.boxes[mine], box_scores=boxes.scores[mine],
        track_ids=boxes.track_ids[mine], support=(0, 1),
    )  # fmt: skip
    rows = np.arange(mine.sum())
    matrices = np.tile(np.eye(2, 3), (len(rows), 1, 1))
    seen = {}
    for tracks in (sequence.truth.track_ids, np.full_like(sequence.truth.track_ids, NO_TRACK)):
        known = replace(sequence, truth=replace(sequence.truth, track_ids=tracks))
        work = SimpleNamespace(sequence=known, clips=clips, matrices=matrices, spec=SimpleNamespace(size=(96, 128)))
        seen[int(tracks[0])] = places_of(work, rows, sequence.skeleton, (0, 1), (32, 24), "plain")
    tracked, untracked = seen.values()
    np.testing.assert_array_equal(tracked.key, untracked.key)
    assert np.isfinite(tracked.support).any() and np.isnan(untracked.support).all()


def test_exposure_and_grain_of_features():
    found = measures_of_maps(*shifted_maps(aligned=True))
    assert found["exposure"] == pytest.approx([3.0]) and found["contrast"] == pytest.approx([3.0])
    assert abs(found["grain_key"][0]) < 0.3 and found["grain_key"] == pytest.approx(found["grain_gathered"])
    smooth = torch.linspace(0, 1, GRID[1]).expand(1, 8, *GRID).contiguous()
    even = {"key": smooth, "before": smooth[None], "after": smooth[None]}
    assert measures_of_maps(even, shifted_maps(aligned=True)[1])["grain_key"] == pytest.approx([1.0], abs=1e-4)


def test_rows_are_means_over_joints_with_intervals_over_videos():
    watch = Watch()
    for number, moved in enumerate((0.5, 3.0)):
        columns = {"moved": moved, "mask": moved / 4, "joint": 0, "sequence": number}
        watch.joints.append({name: np.full(4, value, dtype=float) for name, value in columns.items()})
        watch.clips.append({"exposure": np.array([1.0 + number]), "sequence": np.array([float(number)])})
    rows = {(row["measure"], row["bin"]): row for row in alignment_rows(watch)}
    assert rows["moved", "all"]["value"] == 1.75 and rows["moved", "<1"]["n"] == 4
    assert rows["moved", "2-4"]["value"] == 3.0 and rows["moved", ">=4"]["value"] is None
    assert (rows["moved", "all"]["low"], rows["moved", "all"]["high"]) == (0.5, 3.0)
    assert rows["exposure", "clips"]["value"] == 1.5
    assert rows["mask_auc", "all"]["value"] == 1.0  # the mask is larger wherever joints moved more


@pytest.mark.parametrize("name", ["fami", "hmta"])
def test_a_network_that_is_watched_answers_as_ever(name):
    torch.manual_seed(1)
    preset = methods[name].presets["tiny"]
    module = methods[name].build(preset.options).eval()
    clips = torch.randn(2, 5, 3, 128, 96)
    with torch.inference_mode():
        maps = module.alignment(clips)
        torch.testing.assert_close(maps["outputs"], module(clips), rtol=1e-4, atol=1e-5)
    assert maps["before"].shape == maps["after"].shape == (4, *maps["key"].shape)
    assert maps["offsets"].shape == (4, 2, 2, *maps["key"].shape[-2:])


def test_offsets_of_the_global_step_say_where_it_reads():
    torch.manual_seed(1)
    module = methods["fami"].build(methods["fami"].presets["tiny"].options).eval()
    with torch.inference_mode():
        module.motion.linear[-1].bias.copy_(torch.tensor([2.0, -1.0]))
        maps = module.alignment(torch.randn(1, 5, 3, 128, 96))
    height, width = maps["key"].shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((columns, rows), dim=-1) + maps["offsets"][0, 0].permute(1, 2, 0)
    assert maps["offsets"][0, 0].mean(dim=(1, 2)).tolist() == pytest.approx([-2, 1], abs=1.0)
    read = grid_sample(
        maps["before"][0], (places / torch.tensor([width - 1, height - 1]) * 2 - 1)[None], align_corners=True
    )
    torch.testing.assert_close(read, maps["after"][0], rtol=1e-3, atol=1e-3)


def watched(tmp_path):
    """A run with what an alignment probe left, maps and all."""
    maps = {"0_crop": np.zeros((8, 6, 3), np.uint8), "0_key": np.ones((4, 3)), "0_gathered": np.ones((4, 3)),
            "0_offsets": np.zeros((2, 4, 3))}  # fmt: skip
    content = io.BytesIO()
    np.savez_compressed(content, **maps)
    store = Results(tmp_path / "results")
    run = store.save(make_record(request={"probe": "alignment"}))
    rows = [{"what": "alignment", "measure": "error", "bin": "all", "value": 1.0, "low": None, "high": None, "n": 9}]
    return with_rows(store, run, rows, maps=content.getvalue())


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]


DAMAGES = {
    "halved": lambda data: data[: len(data) // 2],
    "flipped": flipped,
    "zeroed": lambda data: data[:60] + bytes(60) + data[120:],
    "emptied": lambda data: b"",
    "text": lambda data: b"no archive",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_maps_are_named_by_the_report_and_by_verify(harness, tmp_path, damage):
    run = watched(tmp_path)
    path = run.folder / MAPS_FILE
    words = ("report", "probes", "--results", tmp_path / "results", "-o", tmp_path / "page")
    assert harness(*words).code == 0 and (tmp_path / "page" / "features_hrnet_tiny.png").is_file()
    checked = verify(run)
    assert checked.sound and "maps" in checked.checked
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    answer = harness(*words)
    assert answer.code == 3 and str(path) in answer.err and "Traceback" not in answer.err, answer.err
    assert [finding.check for finding in verify(run).findings] == ["maps"]
    path.unlink()
    assert harness(*words).code == 0 and not verify(run).sound


def test_a_pipe_in_place_of_maps_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / MAPS_FILE)
    with pytest.raises(DataError, match=MAPS_FILE):
        read_arrays(tmp_path / MAPS_FILE)


@pytest.mark.parametrize("arrays", [{}, {"key": np.ones((4, 3))}, {"0_key": np.ones(4)}, {"0_crop": np.ones((4, 3, 3))},
                                    {"0_key": np.ones((4, 3)), "1_before": np.ones((4, 3))},
                                    {"0_key": np.array(["a"])}])  # fmt: skip
def test_other_arrays_than_maps_are_refused(tmp_path, arrays):
    np.savez(tmp_path / MAPS_FILE, **arrays)
    with pytest.raises(DataError, match=MAPS_FILE):
        read_maps(tmp_path / MAPS_FILE)


def test_maps_of_earlier_records_are_listed_as_not_checked(tmp_path):
    run = watched(tmp_path)
    store = Results(tmp_path / "earlier")
    kept = {name: value for name, value in run.record.findings.items() if name != "maps_sha256"}
    old = store.save(replace(run.record, findings=kept))
    assert old.id == run.id and "maps" not in str(verify(old))
    shutil.copy(run.folder / MAPS_FILE, old.folder)
    assert verify(old).sound and "maps: the record has no hash of alignment.npz" in verify(old).skipped


def test_a_file_that_ends_too_early_is_no_interruption(harness, monkeypatch):
    def ends(*_):
        raise EOFError("no data left in file")

    monkeypatch.setattr("harness.cli.verify._chosen", ends)
    answer = harness("verify")
    assert answer.code == 1 and "no data left in file" in answer.err and "interrupted" not in answer.err
