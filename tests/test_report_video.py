"""Videos and contact sheets: the right panels, counts and rings; what is told where they cannot be made."""

import importlib
from fractions import Fraction

import cv2
import numpy as np
import pytest
from page_scenes import FRAMES, SIZE, open_scene

from harness.errors import HarnessError, UsageError
from harness.report.overlays import bone_colour
from harness.report.panels import STRIP, View, captioned, run_panel, truth_panel
from harness.report.sheets import GAP, PANEL, contact_sheet, failures_of, write_sheet
from harness.report.video import side_by_side, write_side_by_side
from harness.skeletons import POSETRACK15

GREY = np.full((SIZE[1], SIZE[0], 3), 128, dtype=np.uint8)
WHOLE = View(0, 0, *SIZE, scale=1.0)
RING = (167, 121, 204)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return open_scene(tmp_path_factory.mktemp("scene"))


def near(picture, place, colour, reach):
    x, y = round(place[0]), round(place[1])
    part = picture[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].astype(int)
    return (np.abs(part - np.array(colour)).sum(axis=-1) < 40).any()


def place_of(people, row, joint):
    number = POSETRACK15.index(joint)
    return people.x[row, number], people.y[row, number]


def test_only_wrong_joints_are_ringed_and_found_ones_counted(opened):
    matched = opened.matched[1]
    people = matched.table.scene.predicted
    drawn, found, total = run_panel(matched, GREY, 2, WHOLE)
    assert (found, total) == (14, 15)
    row = int(np.flatnonzero(people.frame == 2)[0])
    assert near(drawn, place_of(people, row, "right_wrist"), RING, 6)
    assert not near(drawn, place_of(people, row, "head_top"), RING, 2)
    right, found, _ = run_panel(matched, GREY, 0, WHOLE)
    assert found == 15 and not (np.abs(right.astype(int) - np.array(RING)).sum(axis=-1) < 40).any()


def test_limbs_have_the_colours_of_the_overlays(opened):
    drawn = truth_panel(opened, GREY, 0, View(30, 70, 160, 60, scale=4.0))
    people = opened.matched[0].table.scene.truth
    first, second = (np.array(place_of(people, 0, name)) for name in ("right_wrist", "right_elbow"))
    middle = ((first + second) / 2 - np.array([30, 70]) + 0.5) * 4 - 0.5
    assert near(drawn, middle, bone_colour("right_wrist", "right_elbow")[::-1], 4)


def test_a_view_places_pixels_where_it_places_joints():
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    picture[20, 30] = 255
    view = View(10, 5, 40, 30, scale=5.0)
    drawn = view.of(picture)
    assert drawn.shape == (150, 200, 3)
    y, x = np.unravel_index(drawn[..., 0].argmax(), drawn.shape[:2])
    np.testing.assert_allclose(view.place(np.array([30.0, 20.0])), [x, y], atol=1)


def test_frames_of_a_video(opened):
    frames = list(side_by_side(opened, 0, width=160))
    assert len(frames) == FRAMES
    assert all(frame.shape == (STRIP + 120, 3 * 160, 3) for frame in frames)
    assert np.abs(frames[4][:, 160:320].astype(int) - frames[4][:, 320:]).mean() > 1  # A and B differ there


def test_a_video_can_be_read_back(opened, tmp_path):
    pytest.importorskip("av", reason="needs PyAV")
    from harness.video import open_video

    path = tmp_path / "new" / "out.mp4"
    assert write_side_by_side(opened, 0, path, rate=Fraction(8), width=160) == FRAMES
    video = open_video(path)
    assert (video.frames, video.size, video.rate) == (FRAMES, (480, STRIP + 120), 8)


def test_without_pyav_the_extra_is_named(opened, tmp_path, monkeypatch):
    real = importlib.import_module

    def without(name, *rest):
        if name == "av":
            raise ImportError("No module named 'av'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(HarnessError, match=r"videos need PyAV.*vidpose-harness\[video\]"):
        write_side_by_side(opened, 0, tmp_path / "out.mp4", rate=Fraction(8))


def test_a_sheet_has_a_strip_per_failure(opened, tmp_path):
    found = failures_of(opened, limit=8)
    assert [(failure.wrong, failure.worst) for failure in found] == [(1, 4), (0, 6)]
    sheet = contact_sheet(opened, found, columns=1)
    height, width = PANEL[1] + 2 * STRIP, 3 * PANEL[0]
    assert sheet.shape == (2 * (height + GAP) + GAP, width + 2 * GAP, 3)
    path = tmp_path / "sheet.png"
    write_sheet(path, sheet)
    assert np.array_equal(cv2.imread(str(path)), sheet)
    with pytest.raises(UsageError, match=r"\.png, \.jpg or \.webp"):
        write_sheet(tmp_path / "sheet.gif", sheet)


def test_sequences_by_any_part_that_one_has(opened):
    assert opened.sequence_number("000002") == 1
    with pytest.raises(UsageError, match="names 2 sequences"):
        opened.sequence_number("mpii")
    with pytest.raises(UsageError, match="in none of them"):
        opened.sequence_number("nowhere")
    with pytest.raises(UsageError, match="nothing to show"):
        failures_of(opened, limit=8, sequence=1)


def test_captions_fit_and_survive_other_alphabets():
    panel = np.zeros((10, 120, 3), dtype=np.uint8)
    assert captioned(panel, "Ein sehr langer Name, größer als das Bild", run=1, right="3 of 4").shape == (36, 120, 3)


def test_a_caption_that_is_cut_says_so():
    panel = np.zeros((10, 120, 3), np.uint8)
    cut = captioned(panel, "left wrist, frame 1234")
    assert not (cut == captioned(panel, "left wrist, fra")).all()  # letters alone would say something else
    assert any((cut == captioned(panel, "left wrist, frame 1234"[:count] + "...")).all() for count in range(8, 20))
