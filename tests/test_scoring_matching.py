"""Clean-up, matching and AP by hand, and every refusal with its message."""

import dataclasses

import numpy as np
import pytest
import small_scenes as small

from harness.errors import DataError, UsageError
from harness.scoring import counted, match, poseval_json, poseval_scene, precision_recall, protocols, score
from harness.scoring.average_precision import Curve, RankedEvents, area, by_sequence, curve, ranked, tie_bounds
from harness.scoring.polygons import strictly_inside
from harness.scoring.poseval import score_poseval
from harness.scoring.ragged import blocks, pairs_within
from harness.skeletons import POSETRACK17

A, B = small.pose(100, 50), small.pose(700, 50)


def scored(truth, found, **options):
    sequences = (small.sequence(truth, **{key: options.pop(key) for key in ("frames", "ignore") if key in options}),)
    return score(sequences, small.predictions(found, sequences, **options))


def test_average_precision_by_hand():
    """Ranks: hit, false, hit over two people: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: 1/2 + 1/2 x 2/3."""
    clutter = small.pose(5000, 5000)
    found = scored([(0, 1, A), (0, 2, B)], [(0, 1, A), (0, 2, clutter), (0, 3, B)], scores=[0.9, 0.8, 0.7])
    assert found.value("ap", joint="left_knee") == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))
    assert found.value("precision") == pytest.approx(100 * 2 / 3) and found.value("recall") == 100
    row = found.select(metric="ap", joint="total").entries[0]
    assert (row.n_truth, row.n_predicted) == (30, 45)


def test_equal_scores_rank_later_ones_first_and_are_bounded():
    clutter = small.pose(5000, 5000)
    found = scored([(0, 1, A)], [(0, 1, A), (0, 2, clutter)], scores=[0.5, 0.5])
    row = found.select(metric="ap", joint="nose").entries[0]
    assert (row.value, row.low, row.high) == (50, 50, 100)
    assert any("between 50.00 and 100.00" in text for text in found.warnings)
    alone = [(1, "right_knee"), (1, "head_top")]  # nothing is tied with these two
    found = scored([(0, 1, A)], [(0, 1, A), (0, 2, clutter)], scores=[0.5, 0.5], absent=alone)
    assert found.warnings[0] == (
        "equal scores: total AP lies between 56.67 and 100.00 depending on their order; 56.67 is for ours (later in "
        "the file first), upstream's order is not reproducible"
    )


def test_the_gate_is_inclusive():
    edge, beyond = A + np.array([30.0, 0.0]), A + np.array([30.5, 0.0])
    assert scored([(0, 1, A)], [(0, 1, edge)]).value("recall") == 100
    assert scored([(0, 1, A)], [(0, 1, beyond)]).value("recall") == 0


def test_a_better_prediction_takes_the_person_whatever_the_scores():
    """The first prediction has most joints right; the second, better scored, has one: it is a false positive."""
    poor = A + np.array([40.0, 0.0])
    poor[small.BODY[0]] = A[small.BODY[0]]
    found = scored([(0, 1, A)], [(0, 1, A), (0, 2, poor)], scores=[0.1, 0.9])
    assert found.value("precision", joint="right_ankle") == 50
    assert found.value("ap", joint="right_ankle") == 50


def test_a_joint_the_truth_lacks_is_a_false_positive_of_the_matched_person():
    sequences = (small.sequence([(0, 1, A)], absent=[(0, "nose")]),)
    found = score(sequences, small.predictions([(0, 1, A)], sequences))
    assert np.isnan(found.value("ap", joint="nose")) and found.value("precision", joint="nose") == 0
    assert found.value("ap") == 100 and found.value("precision") == pytest.approx(100 * 14 / 15)
    assert poseval_json(found)["ap"]["nose"] is None and poseval_json(found)["ap"]["total"] == 100
    assert all(np.isnan(row.low) for row in found.entries)  # nothing is tied
    assert found.warnings[0] == (
        "never annotated: nose; upstream counts such a joint as 0 where it is never predicted, so that even the truth "
        "scores below 100"
    )


def test_a_joint_never_predicted_is_zero_and_enters_the_mean():
    sequences = (small.sequence([(0, 1, A)]),)
    found = score(sequences, small.predictions([(0, 1, A)], sequences, absent=[(0, "nose")]))
    assert found.value("ap", joint="nose") == 0 and found.value("ap") == pytest.approx(100 * 14 / 15)
    assert found.groups()["Head"] == pytest.approx(100 * 2 / 3)


def test_ignore_regions_take_joints_from_both_sides_and_empty_people():
    everything = np.array([[0.0, 0.0], [400.0, 0.0], [400.0, 400.0], [0.0, 400.0]])
    sequences = (small.sequence([(0, 1, A), (0, 2, B)], ignore={0: (everything,)}),)
    scene = poseval_scene(sequences, small.predictions([(0, 1, A), (0, 2, B)], sequences))
    assert len(scene.truth) == len(scene.predicted) == 1
    assert scene.truth.row.tolist() == [1] and scene.predicted.row.tolist() == [1]


def test_the_first_frame_says_which_video_of_a_file_counts():
    """Videos go by the number of their folder: 1, then twice 2, then 1 by another name."""
    sequence = small.sequence([(frame, 1, A) for frame in range(4)])
    folders = ("000001_mpii", "000002_mpii", "000002_mpii", "000001_bonn")
    frames = tuple(
        dataclasses.replace(frame, image=f"images/{folder}/{frame.index}.jpg")
        for frame, folder in zip(sequence.frames, folders, strict=True)
    )
    sequences = (dataclasses.replace(sequence, frames=frames), small.sequence([(0, 1, A)], name="000003_mpii_test"))
    found = small.predictions([(frame, 1, A) for frame in range(4)], sequences)
    official, fixed = (poseval_scene(sequences, found, compat=compat) for compat in ("official", "fixed"))
    assert (official.frame_sequence.tolist(), official.frame_position.tolist()) == ([0, 0, 1], [0, 3, 0])
    assert official.warnings == (
        "000001_mpii_test: frames of a second video in the same file are not evaluated (as upstream)",
    )
    assert (fixed.frame_position.tolist(), fixed.warnings) == ([0, 1, 2, 3, 0], ())


def test_a_sequence_without_frames_among_others_changes_nothing():
    sequences = (small.sequence([(0, 1, A), (0, 2, B)]),)
    empty = dataclasses.replace(small.sequence([], name="000002_mpii_test"), frames=())
    alone, beside = (score(some, small.predictions([(0, 1, A)], some)) for some in (sequences, (*sequences, empty)))
    assert (beside.rows, beside.facts, beside.warnings) == (alone.rows, alone.facts, alone.warnings)


def test_events_are_rows_in_file_order():
    sequences = (small.sequence([(0, 7, A), (2, 7, A)], frames=3),)
    found = small.predictions([(0, 1, A), (0, 2, B), (1, 1, A), (2, 1, A + 6.0)], sequences)
    events = match(poseval_scene(sequences, found)).events()
    assert events.frame.tolist() == [0] * 30 + [2] * 15
    assert events.joint.tolist() == list(range(15)) * 3
    assert events.row.tolist() == [0] * 15 + [1] * 15 + [3] * 15 and events.sequence.tolist() == [0] * 45
    assert events.score.tolist() == [0.4] * 15 + [0.3] * 15 + [0.1] * 15
    assert events.hit.tolist() == [True] * 15 + [False] * 15 + [True] * 15
    assert events.truth_row.tolist() == [0] * 15 + [-1] * 15 + [1] * 15
    np.testing.assert_allclose(events.distance[-15:], np.sqrt(72) / 60)
    assert np.isnan(events.distance[15:30]).all()


def test_restricted_counts_add_to_the_whole():
    """Disjoint masks on truth and predictions: denominators and hits add up; everything kept is the plain AP."""
    sequences = (small.sequence([(0, 1, A), (0, 2, B)]),)
    table = match(poseval_scene(sequences, small.predictions([(0, 1, A), (0, 2, B)], sequences)))
    truth = np.zeros(table.scene.truth.present.shape, dtype=bool)
    truth[0] = True
    keep = table.on_predictions(truth, unmatched=False)
    first = precision_recall(counted(table, keep=keep, truth_keep=truth))
    second = precision_recall(counted(table, keep=~keep, truth_keep=~truth))
    whole = precision_recall(counted(table))
    assert np.array_equal(first.n_truth + second.n_truth, whole.n_truth)
    assert np.array_equal(first.n_hit + second.n_hit, whole.n_hit)
    everything = precision_recall(counted(table, keep=np.ones_like(keep), truth_keep=np.ones_like(truth)))
    assert np.array_equal(everything.ap, whole.ap)


def test_what_is_said_of_the_truth_is_carried_to_who_was_matched_to_it():
    sequences = (small.sequence([(0, 1, A), (0, 2, B)]),)
    table = match(poseval_scene(sequences, small.predictions([(0, 1, A + 300), (0, 2, A), (0, 3, B)], sequences)))
    said = table.on_predictions(np.array([7, 8], dtype=np.int16), unmatched=-1)
    assert said.tolist() == [-1, 7, 8] and said.dtype == np.int16


def test_bounds_are_the_value_itself_where_nothing_is_tied():
    """Of two people one is found, and one prediction more is nobody: AP 50, precision 50 or less."""
    sequences = (small.sequence([(0, 1, A), (0, 2, B)]),)
    table = match(poseval_scene(sequences, small.predictions([(0, 1, A), (0, 3, A + 300), (0, 4, A + 350)], sequences)))
    found = precision_recall(counted(table))
    assert found.ap[-1] == 50 and found.precision[-1] == pytest.approx(100 / 3)
    assert np.array_equal(found.low, found.ap) and np.array_equal(found.high, found.ap)


def test_rows_out_of_order_are_put_in_order():
    sequences = (small.sequence([(0, 1, A), (1, 1, A)]),)
    backwards = small.predictions([(1, 1, A), (0, 1, A)], sequences)
    assert match(poseval_scene(sequences, backwards)).scene.predicted.row.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("point", "expected"),
    [((2, 2), True), ((0, 2), False), ((2, 0), False), ((4, 4), False), ((5, 2), False), ((2, 4), False)],
)
def test_border_points_are_outside(point, expected):
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    for polygon in (square, square[::-1], np.roll(square, 2, axis=0), np.vstack([square, square[:1]])):
        assert strictly_inside(np.array([point], dtype=float), polygon).tolist() == [expected]


def test_bow_tie_and_nan():
    tie = np.array([[0.0, 0.0], [4.0, 4.0], [4.0, 0.0], [0.0, 4.0]])
    points = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 1.0], [2.0, 3.0], [np.nan, 1.0]])
    assert strictly_inside(points, tie).tolist() == [True, True, False, False, False]


def test_integral_and_ranking_primitives():
    assert area(Curve(np.array([1.0]), np.array([1.0]))) == 1
    assert area(curve(np.array([False, True]), 1)) == 0.5
    events = ranked(np.array([0.1, 0.3, 0.2]), np.array([True, False, True]), np.zeros(3, dtype=int), 2)
    assert events.score.tolist() == [0.3, 0.2, 0.1] and events.hit.tolist() == [False, True, True]
    assert not events.tied
    left, right = pairs_within(np.array([0, 2]), np.array([0, 3]))
    assert left.tolist() == [1, 1] and right.tolist() == [3, 4]
    assert list(blocks(np.array([0, 0, 5]), 4)) == [(0, 2), (2, 3)]
    assert list(blocks(np.array([9, 3, 3, 1]), 6)) == [(0, 1), (1, 3), (3, 4)]


# Refusals.


def test_no_sequence_in_common():
    sequences = (small.sequence([(0, 1, A)]),)
    other = dataclasses.replace(small.predictions([(0, 1, A)], sequences), sequence_names=("000009_mpii_test",))
    with pytest.raises(DataError, match=r"share no sequence.*000009_mpii_test.*000001_mpii_test"):
        score(sequences, other)


def test_a_sequence_without_predictions_entry():
    sequences = (small.sequence([(0, 1, A)]), small.sequence([(0, 1, A)], name="000002_mpii_test"))
    with pytest.raises(DataError, match="1 of 2 sequences: 000002_mpii_test"):
        score(sequences, small.predictions([(0, 1, A)], sequences[:1]))


def test_predictions_beyond_the_sequence():
    sequences = (small.sequence([(0, 1, A)]),)
    with pytest.raises(DataError, match=r"000001_mpii_test.*frame position 3.*1 frames"):
        score(sequences, small.predictions([(3, 1, A)], sequences))


def test_a_person_without_head_box_where_there_are_predictions():
    people = [(0, 4, A), (1, 4, A)]
    sequences = (small.sequence(people, heads=[small.HEAD, [np.nan] * 4]),)
    with pytest.raises(DataError, match=r"frame 1 .*000001.jpg.*head box.*track id 4"):
        score(sequences, small.predictions([(0, 1, A), (1, 1, A)], sequences))
    assert score(sequences, small.predictions([(0, 1, A)], sequences)).value("recall") == 50


def test_a_region_of_two_points():
    sequences = (small.sequence([(0, 1, A)], ignore={0: (np.zeros((2, 2)),)}),)
    with pytest.raises(DataError, match="fewer than 3 points"):
        score(sequences, small.predictions([(0, 1, A)], sequences))


def test_shared_track_ids_name_the_frame():
    sequences = (small.sequence([(0, 1, A), (1, 1, A)]),)
    found = small.predictions([(0, 5, A), (1, 6, A), (1, 6, B)], sequences)
    with pytest.raises(DataError, match=r"frame 1 \(images.*share track id 6"):
        score(sequences, found)
    with pytest.raises(DataError, match="share track id 6"):
        poseval_scene(sequences, found)
    assert score(sequences, found, compat="fixed").value("ap") > 0


@pytest.mark.parametrize("protocol", sorted(protocols))
def test_truth_without_people(protocol):
    sequences = (small.sequence([], frames=2),)
    with pytest.raises(DataError, match=r"nothing to score: .*, export a submission instead$"):
        score(sequences, small.predictions([(0, 1, A)], sequences), protocol=protocol)


@pytest.mark.parametrize("protocol", sorted(protocols))
def test_no_predictions_at_all(protocol):
    sequences = (small.sequence([(0, 1, A), (1, 1, A), (2, 1, A)]),)
    found = score(sequences, small.predictions([], sequences), protocol=protocol)
    assert "no pose was predicted in any evaluated frame" in found.warnings or protocol in ("oks", "pck", "temporal")
    if protocol in ("poseval", "posetrack21", "oks"):
        assert found.value("ap") == 0


def test_names_are_suggested():
    sequences = (small.sequence([(0, 1, A)]),)
    with pytest.raises(UsageError, match="did you mean 'poseval'"):
        score(sequences, small.predictions([(0, 1, A)], sequences), protocol="posevall")
    with pytest.raises(UsageError, match="official or fixed"):
        score(sequences, small.predictions([(0, 1, A)], sequences), compat="upstream")


def test_predictions_in_the_wrong_place_are_told():
    assert scored([(0, 1, A)], [(0, 1, A + 5000.0)]).warnings[0] == (
        "no predicted joint lies near any annotated one: check the joint order, the frame numbering and the image size "
        "of the predictions"
    )


def test_the_facts_count_what_was_scored():
    """Two of three people are found, but for the nose of one, by three predictions; frame 1 has nobody."""
    sequences = (small.sequence([(0, 1, A), (0, 2, B), (2, 1, A)]), small.sequence([], name="000002_mpii_test"))
    found = small.predictions([(0, 1, A), (0, 2, A + 300), (2, 1, A)], sequences, absent=[(2, "nose")])
    expected = {
        "compat": "official", "sequences": 1, "frames": 2, "people": 3, "predicted_people": 3, "matched_people": 2,
        "predicted_joints": 44, "found_joints": 29,
    }  # fmt: skip
    scores = score(sequences, found)
    assert scores.facts == expected
    assert score(sequences, found, compat="fixed").facts == expected | {"compat": "fixed"}
    assert {row.slice for row in scores.entries} == {"all"}


def test_joints_found_unequally_often_are_no_sign_of_equal_scores():
    """The right knee is never found, the top of the head always."""
    sequences = (small.sequence([(0, 1, A), (1, 1, A)]),)
    far = A.copy()
    far[POSETRACK17.index("right_knee")] += 300
    scores = score(sequences, small.predictions([(0, 1, far), (1, 1, far)], sequences))
    assert (scores.value("ap", joint="right_knee"), scores.value("ap", joint="head_top")) == (0, 100)
    assert not scores.warnings


def test_unlikely_track_ids_are_told_and_sequences_of_one_frame():
    far = "track id 10000 is not below 10000; upstream's programs refuse such files"
    assert scored([(0, 1, A), (1, 1, A)], [(0, 10_000, A), (1, 10_000, A)]).warnings == (far,)
    assert scored([(0, 10_000, A), (1, 10_000, A)], [(0, 1, A), (1, 1, A)]).warnings == (far,)
    assert scored([(0, 10_000, A)], [(0, 1, A)]).warnings == (
        "tracking leaves out 1 sequence(s) with one evaluated frame (000001_mpii_test): upstream drops the last frame "
        "of every sequence and crashes on these; compat 'fixed' counts them",
        far,
    )


def test_rows_are_named_for_the_protocol_and_the_official_one_is_what_is_meant():
    sequences = (small.sequence([(0, 1, A), (1, 1, A)]),)
    scores = score_poseval(sequences, small.predictions([(0, 1, A)], sequences), per_sequence=True)
    assert {row.protocol for row in scores.entries} == {"poseval"} and scores.facts["compat"] == "official"
    assert {row.slice for row in scores.entries} == {"all", "sequence:000001_mpii_test"}
    assert {row.slice for row in score_poseval(sequences, small.predictions([], sequences)).entries} == {"all"}


def events_of(score, hit, sequence, n_truth=5):
    return RankedEvents(np.array(score), np.array(hit, dtype=bool), np.array(sequence), n_truth)


def test_each_sequence_has_its_own_events_in_their_order():
    """Sequence 3 has none, sequence 2 is to find nothing."""
    events = events_of([0.9, 0.9, 0.5, 0.5, 0.4, 0.1], [1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 2])
    parts = by_sequence((events,), np.array([[2], [3], [0], [5]]))
    found = {number: (part.score.tolist(), part.hit.tolist(), part.n_truth) for number, (part,) in parts.items()}
    assert found == {
        0: ([0.9, 0.5], [False, False], 2),
        1: ([0.9, 0.5, 0.4], [True, True, True], 3),
        2: ([0.1], [False], 0),
        3: ([], [], 5),
    }
    assert [part.sequence.tolist() for (part,) in parts.values()] == [[0, 0], [1, 1, 1], [2], []]


def test_many_events_of_a_sequence_stay_in_their_order():
    sequence = np.random.default_rng(1).integers(0, 3, 2000)
    events = events_of(np.arange(2000)[::-1] / 2000, sequence % 2, sequence)
    for number, (part,) in by_sequence((events,), np.array([[1], [1], [1]])).items():
        assert np.array_equal(part.score, events.score[sequence == number])
        assert np.array_equal(part.hit, events.hit[sequence == number])


def test_merged_events_rank_as_if_counted_together():
    """Of equal scores the later in the table comes first, and what is added is later."""
    first = ranked(np.array([0.5, 0.9]), np.array([True, False]), np.array([0, 2]), 2)
    second = ranked(np.array([0.5, 0.1]), np.array([False, True]), np.array([1, 1]), 3)
    merged = first + second
    assert merged.score.tolist() == [0.9, 0.5, 0.5, 0.1] and merged.hit.tolist() == [False, False, True, True]
    assert merged.sequence.tolist() == [2, 1, 0, 1] and merged.n_truth == 5


def test_tied_predictions_of_nothing_have_bounds_by_the_rule_of_the_protocol():
    nothing = events_of([0.5, 0.5], [0, 0], [0, 0], n_truth=0)
    assert tie_bounds(nothing, empty_recall=0.0) == (0.0, 0.0) and np.isnan(tie_bounds(nothing)).all()
