"""Slices of a run: the invariants of the specification, a slow reference, and hand arithmetic for the unmatched."""

import math
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hand_scenes import JOINTS, predictions_of, random_run, sequence_of, standing
from hypothesis import given, settings
from hypothesis import strategies as st
from poseval_goldens import ELSEWHERE, OWN, expected, load

from harness.errors import UsageError
from harness.scoring import score
from harness.scoring.entries import Entries, average_precision
from harness.scoring.matched import match_run
from harness.scoring.overlaps import extents, row_iou
from harness.scoring.slices import assign, count_slices, footage_of, register_slice, score_slices, slices
from harness.scoring.slices.counting import nearest_truth
from harness.scoring.slices.scoring import POSITIVES, normalised_precision
from harness.skeletons import POSETRACK15

FREE = {"min_items": 0, "min_sequences": 0}
SEEDS = st.integers(0, 10_000)


def first_half(footage):
    return (np.arange(len(footage.sequence.frames)) >= len(footage.sequence.frames) / 2).astype(float)


def odd_tracks(footage):
    return (footage.sequence.truth.track_ids % 2).astype(float)


def labelled_left(footage):
    left = np.array([name.startswith("left") for name in POSETRACK15.names])
    return np.where(footage.labelled, ~left, np.nan)


OURS = ["first_half", "odd_tracks", "labelled_left"]


@pytest.fixture(scope="module", autouse=True)
def own_slices():
    """Slices as a user adds them, for as long as these tests run."""
    register_slice("first_half", level="frame", bins=("first", "second"), title="Half of the clip")(first_half)
    register_slice("odd_tracks", level="person", bins=("even", "odd"), title="Parity of the track id")(odd_tracks)
    register_slice("labelled_left", level="joint", bins=("left", "other"), title="Side of the body")(labelled_left)
    yield
    for name in OURS:
        del slices._items[name]


@pytest.mark.parametrize("name", OWN + ELSEWHERE)
def test_the_slice_all_is_poseval_in_every_bit(name):
    scores = score_slices(match_run(*load(name)), ["all"])
    assert list(scores.by_joint("ap").values()) == expected(name, "poseval_head")["AP"]["ap"]
    assert scores.by_joint("recall")["nose"] == pytest.approx(expected(name, "poseval_head")["AP"]["rec"][13])


@pytest.mark.parametrize("name", ["small", "rawfloat"])
def test_disjoint_slices_sum_to_all_in_items_and_hits(name):
    matched = match_run(*load(name))
    (whole,), _, _ = count_slices(matched, ["all"])
    for slice_name in [*slices, "overlap x speed"]:
        known, unknown, lacking = count_slices(matched, [slice_name], **FREE)
        if slice_name in lacking:
            continue
        parts = known + unknown
        assert np.array_equal(sum(part.items for part in parts), whole.items), slice_name
        assert np.array_equal(sum(part.hits for part in parts), whole.hits), slice_name
        counted = [[int(entries.hit.sum()) for entries in part.entries()] for part in known]
        assert np.array_equal(counted, [part.hits for part in known]), slice_name


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([*OURS, "visibility", "occlusion_run", "overlap", "speed", "first_half x odd_tracks"]))
def test_equal_to_a_slow_reference(seed, name):
    matched = match_run(*random_run(seed))
    known, _, lacking = count_slices(matched, [name], **FREE)
    assert not lacking
    assigned = assign(name, matched, footage_of(matched))
    for number, counts in enumerate(known):
        for unmatched in ("assigned", "all", "none"):
            fast = [average_precision(entries) for entries in counts.entries(unmatched)]
            assert fast == pytest.approx(slow_slice(matched, assigned, number, unmatched), nan_ok=True)


def slow_slice(matched, assigned, number, unmatched):
    """AP of one bin by the rules of the specification, one scored joint at a time."""
    table, scene = matched.table, matched.table.scene
    values = []
    for joint in range(JOINTS):
        items = [g for g in range(len(scene.truth)) if scene.truth.present[g, joint]]
        inside = [g for g in items if assigned.cells[g, joint] == number]
        share = len(inside) / len(items) if items else 0.0
        events = []
        for p in range(len(scene.predicted)):
            if not scene.predicted.present[p, joint]:
                continue
            weight = weight_of(matched, assigned, number, unmatched, share, p, joint)
            if weight > 0:
                events.append((scene.scores[p, joint], p, bool(table.hit[p, joint]), weight))
        events.sort(key=lambda event: (-event[0], -event[1]))
        values.append(slow_area(events, len(inside)))
    return values


def weight_of(matched, assigned, number, unmatched, share, p, joint):
    table, scene = matched.table, matched.table.scene
    if assigned.level == "frame":
        counts = unmatched != "none" or table.truth_of[p] >= 0
        return float(counts and assigned.frames[scene.predicted.frame[p]] == number)
    owner = table.truth_of[p]
    if owner < 0:
        if unmatched != "assigned":
            return float(unmatched == "all")
        owner = slow_nearest(matched, p)
        if owner is None:
            return share
    if assigned.level == "joint" and not scene.truth.present[owner, joint]:
        return 0.0
    return float(assigned.cells[owner, joint] == number)


def slow_nearest(matched, p):
    scene, best, found = matched.table.scene, 0.1, None
    for g in range(len(scene.truth)):
        if scene.truth.frame[g] == scene.predicted.frame[p]:
            value = slow_iou(matched.predicted_boxes[p], matched.truth_boxes[g])
            if value >= best and (found is None or value > best):
                best, found = value, g
    return found


def slow_iou(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (
        (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1]) - shared
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 0.5, 0.5), (0.25, 0, 0.75, 0.5), 1 / 3),
        ((0, 0, 2, 2), (5, 0, 7, 2), 0),
        ((0, 0, 2, 2), (5, 5, 7, 7), 0),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0),
        ((2, 2, 0, 0), (0, 0, 2, 2), 0),
        ((0, 0, 2, 2), (np.nan, 0, 2, 2), 0),
    ],
)
def test_boxes_overlap_by_hand(first, second, expected):
    found = [row_iou(np.array([one], dtype=float), np.array([other], dtype=float)).tolist()
             for one, other in ((first, second), (second, first))]  # fmt: skip
    assert found == [[pytest.approx(expected)]] * 2


def test_nobody_and_people_without_joints_have_no_extent():
    nothing = np.full((2, 15), np.nan)
    nothing[0, 3] = 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(extents(nothing, nothing + 1), [[7, 8, 7, 8], [np.nan] * 4], equal_nan=True)
        assert extents(nothing[:0], nothing[:0]).shape == (0, 4)


def slow_area(events, n_truth):
    if not events:
        return 0.0
    if not n_truth:
        return math.nan
    hits, total, points = 0, 0.0, []
    for _, _, hit, weight in events:
        hits += hit
        total += weight
        points.append((hits / n_truth, hits / total))
    area, before = 0.0, 0.0
    for rank, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[rank:])
        before = recall
    return area * 100


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_bounds_hold_the_value_between_them(seed):
    scores = score_slices(match_run(*random_run(seed)), [*OURS, "speed", "overlap"], **FREE)
    values = {(entry.metric, entry.slice, entry.joint): entry.value for entry in scores.entries}
    for (metric, *place), value in values.items():
        if metric == "ap" and not math.isnan(value):
            assert values["ap_lower", *place] - 1e-9 <= value <= values["ap_upper", *place] + 1e-9


def two_people_and_a_stray():
    """Frame 0: person 0 found; frame 1: person 1 not found, a pose near it, a pose near nobody."""
    sequence = sequence_of([(0, 0, standing(0)), (1, 1, standing(100))])
    near = standing(107)
    near[0, 0] = 80.0
    far = standing(400)
    far[0, 0] = 380.0
    parts = [(0, 0, standing(0), 0.5), (0, 1, near, 0.8), (0, 1, far, 0.9)]
    return match_run((sequence,), predictions_of(*parts))


def test_unmatched_poses_go_to_the_nearest_truth_or_are_shared():
    matched = two_people_and_a_stray()
    assert matched.table.truth_of.tolist() == [0, -1, -1]
    wide = matched.truth_boxes.copy()
    wide[:, 2] += 40
    matched.__dict__["truth_boxes"] = wide
    assert nearest_truth(matched).tolist() == [-1, 1, -1]
    scores = score_slices(matched, ["odd_tracks", "first_half"], **FREE)
    # track 0: one of one found behind a stray that weighs 1/2: precision 1 / 1.5
    assert scores.value("ap", joint="nose", slice="odd_tracks:even") == pytest.approx(100 / 1.5)
    assert scores.value("ap_lower", joint="nose", slice="odd_tracks:even") == pytest.approx(100 / 3)
    assert scores.value("ap_upper", joint="nose", slice="odd_tracks:even") == 100.0
    # by frame the strays of frame 1 are that frame's, whatever they overlap
    assert scores.value("ap", joint="nose", slice="first_half:first") == 100.0
    assert scores.value("ap_lower", joint="nose", slice="first_half:first") == 100.0
    assert scores.value("ap", joint="nose", slice="first_half:second") == 0.0


def test_hits_and_predictions_are_counted_in_each_bin():
    """Track 0 is matched with all joints right but the nose, track 1 likewise, track 3 is not found at all."""
    off = standing(300)
    off[POSETRACK15.index("nose")] += 200
    people = [(0, 0, standing(0)), (0, 1, standing(300)), (0, 3, standing(600))]
    sequence = sequence_of(people)
    parts = [(0, 0, standing(0), 0.9), (0, 0, off, 0.8)]
    scores = score_slices(match_run((sequence,), predictions_of(*parts)), ["odd_tracks"], **FREE)
    even, odd = "odd_tracks:even", "odd_tracks:odd"
    for joint, recall, pckh in (("nose", 0, 0), ("left_knee", 50, 100)):
        assert scores.value("recall", joint=joint, slice=odd) == recall
        assert scores.value("pckh", joint=joint, slice=odd) == pckh
        assert scores.value("pckh", joint=joint, slice=even) == 100
    assert scores.value("recall", slice=odd) == pytest.approx(100 * 14 / 30)
    assert scores.value("pckh", slice=odd) == pytest.approx(100 * 14 / 15)
    (row,) = scores.select(metric="ap", joint="nose", slice=odd).entries
    assert (row.value, row.n_truth, row.n_predicted) == (0, 2, 1)
    (row,) = scores.select(metric="recall", joint="total", slice=odd).entries
    assert (row.n_truth, row.n_predicted) == (30, 15)
    (row,) = scores.select(metric="people", joint="total", slice=odd).entries
    assert (row.value, row.n_truth, row.n_predicted) == (2, 30, 0)
    assert scores.facts["limits"] == {"items": 0, "sequences": 0, "positives": POSITIVES}


def test_a_stray_counts_whole_where_the_only_person_is():
    """The whole truth of a joint lies in one bin, so a stray near nobody weighs 1 there: precision 1 / 2."""
    far = standing(400)
    far[0, 0] = 380.0
    sequence = sequence_of([(0, 0, standing(0))])
    matched = match_run((sequence,), predictions_of((0, 0, standing(0), 0.5), (0, 0, far, 0.9)))
    scores = score_slices(matched, ["odd_tracks"], **FREE)
    assert scores.value("ap", joint="nose", slice="odd_tracks:even") == pytest.approx(50)


def test_a_joint_that_nobody_has_is_zero_in_all_as_in_poseval():
    """Limits are for slices: in "all" a joint without truth and predictions has poseval's 0, and so has the total."""
    pose = standing()
    pose[POSETRACK15.index("nose")] = np.nan
    run = (sequence_of([(0, 0, pose)]),), predictions_of((0, 0, pose, 0.5))
    scores, whole = score_slices(match_run(*run), ["all"], min_items=5, min_sequences=5), score(*run, tracking=False)
    assert scores.value("ap", joint="nose", slice="all") == whole.value("ap", joint="nose", slice="all") == 0
    assert scores.value("ap", slice="all") == whole.value("ap", slice="all") == pytest.approx(100 * 14 / 15)


def test_a_joint_on_an_unlabelled_truth_counts_for_the_person_but_not_for_the_joint():
    truth = standing()
    truth[POSETRACK15.index("nose")] = np.nan
    other = standing(300)
    sequence = sequence_of([(0, 0, truth), (0, 2, other)])
    parts = [(0, 0, standing(), 0.9), (0, 0, other, 0.5)]
    matched = match_run((sequence,), predictions_of(*parts))
    scores = score_slices(matched, ["odd_tracks", "labelled_left"], **FREE)
    assert scores.value("ap", joint="nose", slice="odd_tracks:even") == 50.0
    assert scores.value("ap", joint="nose", slice="labelled_left:other") == 100.0
    confident = scores.select(metric="unlabelled_confident", joint="nose").entries[0]
    assert (confident.value, confident.n_truth, confident.n_predicted) == (100.0, 1, 1)


def test_absent_labels_are_not_available_and_have_no_row():
    matched = match_run(*random_run(1, flags=False))
    scores = score_slices(matched, ["visibility", "sharpness", "sharpness x speed", "speed"], **FREE)
    assert set(scores.facts["not_available"]) == {"visibility", "sharpness", "sharpness x speed"}
    needs = scores.facts["not_available"]
    assert "visibility flags" in needs["visibility"]
    assert needs["sharpness x speed"] == f"images and {slices['speed'].needs}"
    assert {entry.slice.partition(":")[0] for entry in scores.entries} == {"speed", "all"}
    assert any("'visibility' is not available" in text for text in scores.warnings)


def test_few_items_or_sequences_hide_the_ap_but_not_the_counts():
    matched = match_run(*random_run(2, sequences=3, frames=30, people=(3, 3)))
    kept = score_slices(matched, ["odd_tracks"], min_items=20, min_sequences=3)
    assert not math.isnan(kept.value("ap", slice="odd_tracks:even", joint="nose"))
    few = score_slices(matched, ["odd_tracks"], min_items=20, min_sequences=4)
    assert math.isnan(few.value("ap", slice="odd_tracks:even", joint="nose"))
    assert few.value("sequences", slice="odd_tracks:even", joint="nose") == 3
    assert few.value("recall", slice="odd_tracks:even", joint="nose") > 0
    assert any("fewer than 20 items or 4 sequences" in text for text in few.warnings)
    assert few.facts["shown_joints"]["odd_tracks:even"] == 0


def test_the_total_is_the_mean_of_the_joints_shown():
    matched = match_run(*random_run(3, sequences=2, frames=20))
    whole = score_slices(matched, ["odd_tracks"], **FREE)
    items = whole.select(metric="ap", slice="odd_tracks:even").entries[:15]
    limit = sorted(entry.n_truth for entry in items)[7]
    part = score_slices(matched, ["odd_tracks"], min_items=limit, min_sequences=0)
    shown = [entry.value for entry in items if entry.n_truth >= limit]
    assert 0 < len(shown) < 15
    assert part.value("ap", slice="odd_tracks:even") == pytest.approx(np.mean(shown))


def test_normalised_precision_by_hand():
    matched = two_people_and_a_stray()
    (whole,), _, _ = count_slices(matched, ["all"])
    nose = whole.entries()[POSETRACK15.index("nose")]
    # ranked: miss, miss, hit; recall 1/2 at the end with 2 wrong: P_N = 5 / (5 + 2) for N = 10
    assert nose.hit.tolist() == [False, False, True]
    assert normalised_precision(nose, 10) == pytest.approx(50 * 5 / 7)
    nobody = replace(nose, truth=nose.truth * 0)
    assert math.isnan(normalised_precision(nobody, 10))
    nothing = Entries(*(getattr(nose, name)[:0] for name in ("hit", "weight", "sequence", "score")), nose.truth)
    assert normalised_precision(nothing, 10) == 0.0


def test_terciles_part_the_items_of_the_data_set_evenly():
    matched = match_run(*random_run(8, people=(3, 4)))
    items = [counts.items.sum() for counts in count_slices(matched, ["speed_terciles"], **FREE)[0]]
    assert max(items) - min(items) <= 2
    people = [counts.people_total for counts in count_slices(matched, ["head_size"], **FREE)[0]]
    assert people[0] == len(matched.table.scene.truth)  # all heads are equal: one bin


@pytest.mark.parametrize("name", list(slices))
def test_every_slice_says_what_it_is(name):
    part = slices[name]
    assert part.title
    assert part.measure.__doc__
    assert len(part.bins) > 1
    assert part.quantiles + (part.edges is not None) <= 1


def test_crossings_bin_both_ways():
    matched = match_run(*random_run(4))
    scores = score_slices(matched, ["odd_tracks x first_half"], **FREE)
    labels = {entry.slice for entry in scores.select(metric="ap").entries}
    assert labels == {f"odd_tracks x first_half:{a}/{b}" for a in ("even", "odd") for b in ("first", "second")}


def test_a_crossing_of_frames_is_one_of_frames():
    """An unmatched pose is in the bin of its frame, so that counting all of them changes nothing."""
    matched = match_run(*random_run(4))
    crossed = assign("first_half x first_half", matched, footage_of(matched))
    single = assign("first_half", matched, footage_of(matched))
    assert crossed.level == "frame" and crossed.bins == ("first/first", "first/second", "second/first", "second/second")
    assert np.array_equal(crossed.frames, 3 * single.frames) and np.array_equal(crossed.cells, 3 * single.cells)
    assert assign("odd_tracks x first_half", matched, footage_of(matched)).frames is None


def test_unknown_items_are_counted_beside_the_bins():
    matched = match_run(*random_run(5, people=(2, 3)))
    scores = score_slices(matched, ["speed"], **FREE)
    unknown = scores.select(metric="people", slice="speed:unknown", joint="total").entries[0]
    assert unknown.n_truth > 0
    assert not scores.select(metric="ap", slice="speed:unknown").entries


def test_wrong_names_and_shapes_say_so():
    matched = match_run(*random_run(6))
    with pytest.raises(UsageError, match="did you mean 'visibility'"):
        score_slices(matched, ["visibilty"])
    with pytest.raises(UsageError, match="2 bins need 1 ascending edges"):
        register_slice("wrong_edges", level="joint", bins=("a", "b"), edges=(1.0, 2.0), title="")
    with pytest.raises(UsageError, match="neither ':' nor ' x '"):
        register_slice("a x b", level="joint", bins=("a", "b"), title="")
    register_slice("wrong_shape", level="joint", bins=("a",), title="")(lambda footage: np.zeros(len(footage)))
    try:
        with pytest.raises(UsageError, match=r"'wrong_shape' .* returned shape"):
            score_slices(matched, ["wrong_shape"])
    finally:
        slices._items.pop("wrong_shape")
    with pytest.raises(UsageError, match="slice 'wrong_level': unknown level 'pixel'; choose joint, person, frame"):
        register_slice("wrong_level", level="pixel", bins=("a", "b"), title="")
    register_slice("wrong_bin", level="frame", bins=("a", "b"), title="")(
        lambda footage: np.full(len(footage.sequence.frames), 2.0)
    )
    try:
        with pytest.raises(UsageError, match="a slice without edges returned bin 2, it has 2 bins"):
            score_slices(matched, ["wrong_bin"])
    finally:
        slices._items.pop("wrong_bin")


def test_listing_and_scoring_built_in_slices_imports_no_torch():
    code = (
        "import sys; from harness.scoring.slices import slice_named, slices; slice_named('speed x overlap');"
        " assert len(slices) > 15; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_registered_slice_runs_on_people_without_anything():
    sequence = sequence_of([(0, 0, standing())], size=None)
    scores = score_slices(match_run((sequence,), predictions_of((0, 0, standing(), 0.5))), **FREE)
    assert scores.value("ap", slice="overlap:0-.1") == 100.0
    assert {"speed", "truncation", "camera_motion", "scale_change"} <= set(scores.facts["not_available"])
