"""OKS AP of a handful of people: who counts, in which order, and over which area, reckoned by hand."""

import dataclasses
import math

import numpy as np
import pytest
import small_scenes as small

from harness.scoring import OksOptions, oks_json, score, score_oks
from harness.scoring.oks import METRICS
from harness.skeletons import OKS_SIGMAS, POSETRACK15, POSETRACK17

HERE, THERE, NOWHERE = small.pose(100, 50), small.pose(700, 50), small.pose(5000, 5000)
HALF = 100 * 51 / 101  #: AP of one of two people found and nothing else: 51 of COCO's 101 recalls are at most 1/2
NAN = math.nan


def scored(truth, found, *, absent=(), lacking=(), scores=None, options=None, **changes):
    """Scores of truth and predicted poses of one frame; `absent` are joints without truth, `lacking` unpredicted."""
    sequence = small.sequence([(0, track, pose) for track, pose in enumerate(truth)], absent=absent)
    sequences = (dataclasses.replace(sequence, truth=dataclasses.replace(sequence.truth, **changes)),)
    people = [(0, track, pose) for track, pose in enumerate(found)]
    predicted = small.predictions(people, sequences, absent=lacking, scores=scores)
    return score_oks(sequences, predicted, options=options or OksOptions())


def test_a_stranger_costs_only_where_he_ranks_first():
    assert scored([HERE], [HERE, NOWHERE], scores=[0.9, 0.5]).value("ap") == pytest.approx(100)
    assert scored([HERE], [HERE, NOWHERE], scores=[0.5, 0.9]).value("ap") == pytest.approx(50)
    found = oks_json(scored([HERE, THERE], [HERE]))
    assert list(found) == list(METRICS)
    assert found["ap"] == found["ap50"] == found["ap75"] == pytest.approx(HALF) and found["ar"] == 50
    rows = scored([HERE, THERE], [HERE]).entries
    assert {(row.protocol, row.slice, row.joint, row.n_truth, row.n_predicted) for row in rows} == {
        ("oks", "all", "total", 2, 1)
    }


def test_no_more_detections_count_than_asked():
    """The stranger takes the one place there is; of three places each person has one."""
    people = {"truth": [HERE, THERE], "found": [NOWHERE, HERE, THERE], "scores": [0.9, 0.8, 0.7]}
    ar = [scored(**people, options=OksOptions(max_detections=count)).value("ar") for count in (1, 2, 3)]
    assert ar == [0, 50, 100]


def test_a_person_ranks_by_the_mean_score_of_the_joints_he_has():
    """A stranger of one joint scored 0.4 is behind a person of 15 scored 0.5, whatever his absent joints' scores."""
    alone = [(0, joint) for joint in POSETRACK15.names if joint != "nose"]
    for lacking in ((), alone):
        assert scored([HERE], [NOWHERE, HERE], lacking=lacking, scores=[0.4, 0.5]).value("ap") == pytest.approx(100)
    assert scored([HERE], [NOWHERE, HERE], lacking=alone, scores=[0.6, 0.5]).value("ap") == pytest.approx(50)


@pytest.mark.parametrize(("stranger", "expected"), [(0.05, 100), (0.1, 50)])
def test_a_joint_without_a_score_counts_as_nothing(stranger, expected):
    """One joint of 15 scored 0.9 and the others without a score are 0.06 in the mean."""
    sequences = (small.sequence([(0, 0, HERE)]),)
    predicted = small.predictions([(0, 0, HERE), (0, 1, NOWHERE)], sequences, scores=[0.9, stranger])
    scores = predicted.scores.copy()
    scores[0, [joint for joint in range(17) if joint != POSETRACK17.index("nose")]] = np.nan
    assert score_oks(sequences, dataclasses.replace(predicted, scores=scores)).value("ap") == pytest.approx(expected)


@pytest.mark.parametrize(("own", "expected"), [((0.9, 0.5), 100), ((0.5, 0.9), 50), ((NAN, 0.5), 50)])
def test_the_persons_own_score_ranks_where_asked(own, expected):
    sequences = (small.sequence([(0, 0, HERE)]),)
    predicted = small.predictions([(0, 0, HERE), (0, 1, NOWHERE)], sequences, scores=[0.2, 0.3])
    predicted = dataclasses.replace(predicted, box_scores=np.array(own))
    options = OksOptions(person_score="person")
    assert score_oks(sequences, predicted, options=options).value("ap") == pytest.approx(expected)
    assert score_oks(sequences, predicted).value("ap") == pytest.approx(50)


def test_people_who_lack_a_joint_are_left_out_of_its_ap():
    """The best of three predictions has a nose that its truth lacks: first of two noses, and found by nobody."""
    found = scored(
        [HERE, THERE], [THERE, HERE, NOWHERE], absent=[(1, "nose")], lacking=[(2, "nose")], scores=[0.9, 0.5, 0.2],
        options=OksOptions(per_joint=True),
    )  # fmt: skip
    (nose,) = found.select(metric="ap", joint="nose").entries
    (knee,) = found.select(metric="ap", joint="left_knee").entries
    assert (nose.value, nose.n_truth, nose.n_predicted) == (pytest.approx(50), 1, 2)
    assert (knee.value, knee.n_truth, knee.n_predicted) == (pytest.approx(100), 2, 3)
    assert found.value("ap") == pytest.approx(100)  # a nose of which nothing is known does him no harm


def test_a_joint_alone_is_judged_by_its_own_place_and_score():
    """The wrist of the better person is off, and its score the lower one: the other's comes first, then a miss."""
    wrist = POSETRACK17.index("left_wrist")
    moved = HERE.copy()
    moved[wrist] += 500
    sequences = (small.sequence([(0, 0, HERE), (0, 1, THERE)]),)
    predicted = small.predictions([(0, 0, moved), (0, 1, THERE)], sequences, scores=[0.9, 0.5])
    scores = predicted.scores.copy()
    scores[0, wrist] = 0.1
    found = oks_json(
        score_oks(sequences, dataclasses.replace(predicted, scores=scores), options=OksOptions(per_joint=True))
    )
    assert found["joints"].pop("left_wrist") == pytest.approx(HALF)
    assert list(found["joints"].values()) == pytest.approx([100.0] * 14)
    # 14 of 15 joints are right: similarity 14/15 passes nine of the ten thresholds, all but 0.95
    assert found["ap"] == pytest.approx(0.9 * 100 + 0.1 * ap_of_a_miss_and_a_hit())
    assert found["ar"] == pytest.approx(95)


def ap_of_a_miss_and_a_hit():
    """One of two people found, behind a miss: precision 1/2 up to recall 1/2."""
    return HALF / 2


@pytest.mark.parametrize("sigmas", [OKS_SIGMAS, dict.fromkeys(OKS_SIGMAS, 0.03)])
@pytest.mark.parametrize("shift", [2.0, 5.0, 12.0])
def test_a_joint_alone_has_the_width_of_its_own_sigma(shift, sigmas):
    """All joints are off by as much; each passes as many of the ten thresholds as its sigma lets it."""
    found = scored([HERE], [HERE + np.array([shift, 0.0])], options=OksOptions(per_joint=True, sigmas=sigmas))
    assert found.facts["oks"]["sigmas"] == sigmas
    for name, value in oks_json(found)["joints"].items():
        similar = math.exp(-(shift**2) / (2 * sigmas[name]) ** 2 / (0.53 * 200 * 200) / 2)
        passed = sum(similar >= threshold for threshold in np.linspace(0.5, 0.95, 10))
        assert value == pytest.approx(10 * passed), name


def test_who_is_occluded_counts_where_the_labels_do_not_say():
    """Flags: the nose is hidden, and predicted far off. Left out, the rest is right; without flags it costs 1/15."""
    off = HERE.copy()
    off[POSETRACK17.index("nose")] += 500
    visible = np.zeros((1, 17), dtype=bool)
    visible[:, small.BODY] = True
    visible[:, POSETRACK17.index("nose")] = False
    hidden, unknown = (
        scored([HERE], [off], visible=flags, options=OksOptions(occluded=False)) for flags in (visible, None)
    )
    assert (hidden.value("ap"), unknown.value("ap")) == (pytest.approx(100), pytest.approx(90))
    assert scored([HERE], [off], visible=visible).value("ap") == pytest.approx(90)


@pytest.mark.parametrize("use_area", [False, True])
@pytest.mark.parametrize("shift", [4.0, 9.0, 14.0])
def test_without_a_box_the_joints_span_the_area(use_area, shift):
    """Joints span 140 x 30 px here and twice that there; COCO takes 0.53 of a box where it knows no area."""
    large = np.where(THERE > 0, THERE + (THERE - THERE[small.BODY[0]]), 0)
    truth, found = [HERE, large], [pose + np.array([shift, 0.0]) for pose in (HERE, large)]
    options = OksOptions(use_area=use_area)
    boxes = np.full((2, 4), np.nan)
    boxes[:, :2] = 7.0  # half a box is none
    given = scored(truth, found, boxes=boxes, options=options)
    similar = [similarity(shift, area * (1 if use_area else 0.53)) for area in (140 * 30, 280 * 60)]
    hits = [sum(value >= threshold for value in similar) for threshold in np.linspace(0.5, 0.95, 10)]
    assert given.value("ar") == pytest.approx(100 * np.mean(hits) / 2)
    told = np.array([[100.0, 50, 240, 80], [700.0, 50, 980, 110]])
    assert repr(given.entries) == repr(scored(truth, found, boxes=told, options=options).entries)
    half, wide = boxes.copy(), told.copy()  # whose box is known keeps it
    half[0] = wide[0] = (0, 0, 600, 600)
    assert repr(scored(truth, found, boxes=half, options=options).entries) == repr(
        scored(truth, found, boxes=wide, options=options).entries
    )


def similarity(shift, area):
    terms = [math.exp(-(shift**2) / (2 * OKS_SIGMAS[name]) ** 2 / area / 2) for name in POSETRACK15.names]
    return sum(terms) / len(terms)


@pytest.mark.filterwarnings("error")
def test_people_are_medium_or_large_by_their_box():
    """0.53 of 50 x 50 px is medium (32 x 32 to 96 x 96), 0.53 of 200 x 200 large, and that one is not found."""
    boxes = np.array([[100.0, 50, 150, 100], [700.0, 50, 900, 250]])
    found = oks_json(scored([HERE, THERE], [HERE], boxes=boxes))
    assert (found["apm"], found["arm"], found["apl"], found["arl"]) == (pytest.approx(100), 100, 0, 0)
    only = oks_json(scored([HERE], [HERE], boxes=boxes[:1]))
    assert only["apm"] == pytest.approx(100) and only["apl"] is None and only["arl"] is None


@pytest.mark.filterwarnings("error")
def test_somebody_without_joints_and_box_neither_counts_nor_costs():
    nobody = [(1, joint) for joint in POSETRACK15.names]
    found = scored([HERE, THERE], [HERE], absent=nobody, boxes=np.array([[0.0, 0, 200, 200], [NAN] * 4]))
    assert found.value("ap") == pytest.approx(100) and found.value("ar") == 100
    empty = scored([HERE], [HERE, THERE], lacking=nobody)
    assert [row.n_predicted for row in empty.select(metric="ap").entries] == [1]


def test_ignore_regions_take_away_both_sides_where_asked():
    """A truth person and a stranger ahead of the rest, each in a region; of three people one is found, then of two."""
    square = np.array([[0.0, 0], [400, 0], [400, 400], [0, 400]])
    regions = tuple(square + np.array(corner) for corner in ((690, 0), (4900, 4900)))
    people = {"truth": [HERE, THERE, small.pose(100, 2000)], "found": [NOWHERE, HERE], "ignore": {0: regions}}
    assert scored(**people).value("ap") == pytest.approx(100 * 34 / 101 / 2)  # 34 recalls are at most 1/3
    found = scored(**people, options=OksOptions(ignore_regions=True))
    assert found.value("ap") == pytest.approx(HALF)
    assert {row.n_predicted for row in found.entries} == {1}


def two_clips():
    """The first clip's person is found, the second's is not."""
    sequences = tuple(small.sequence([(0, 0, HERE)], name=name) for name in ("000001_mpii", "000002_mpii"))
    return sequences, small.predictions([(0, 0, HERE)], sequences)


def test_every_sequence_is_scored_alone_and_the_json_is_of_all():
    sequences, predicted = two_clips()
    options = OksOptions(per_joint=True)
    found = score_oks(sequences, predicted, per_sequence=True, options=options)
    values = {name: found.value("ap", slice=f"sequence:{name}") for name in ("000001_mpii", "000002_mpii")}
    assert values == {"000001_mpii": pytest.approx(100), "000002_mpii": 0}
    assert found.value("ap", slice="sequence:000001_mpii", joint="nose") == pytest.approx(100)
    assert found.value("ap", slice="sequence:000002_mpii", joint="nose") == 0
    counts = {(row.slice, row.joint == "nose"): (row.n_truth, row.n_predicted) for row in found.entries}
    assert counts["sequence:000001_mpii", True] == counts["sequence:000001_mpii", False] == (1, 1)
    assert counts["sequence:000002_mpii", True] == counts["sequence:000002_mpii", False] == (1, 0)
    assert counts["all", True] == counts["all", False] == (2, 1)
    together = oks_json(found + score(sequences, predicted, protocol="poseval"))
    assert together["ap"] == pytest.approx(HALF) and together["joints"]["nose"] == pytest.approx(HALF)
    assert set(together) == {*METRICS, "joints"} and list(together["joints"]) == list(POSETRACK15.names)
    plain = score_oks(sequences, predicted)
    assert "joints" not in oks_json(plain) and {row.slice for row in plain.entries} == {"all"}


def test_the_facts_are_those_of_the_run():
    facts = scored([HERE, THERE], [HERE, NOWHERE, THERE], options=OksOptions(max_detections=5)).facts
    assert (facts["frames"], facts["people"], facts["predicted_people"]) == (1, 2, 3)
    assert facts["oks"]["max_detections"] == 5 and facts["oks"]["person_score"] == "joints"
