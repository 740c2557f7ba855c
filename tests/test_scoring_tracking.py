"""MOTA and its kin equal poseval's with either generation of its tracking library."""

import dataclasses

import numpy as np
import poseval_goldens as goldens
import pytest
import small_scenes as small

from harness.datasets.sequences import NO_TRACK
from harness.errors import DataError
from harness.scoring import poseval_json, poseval_scene, score
from harness.scoring.poseval import without_last_frames
from harness.scoring.tracking import count_tracking, tracking

COUNTS = {
    "num_misses": "misses",
    "num_switches": "switches",
    "num_false_positives": "false_positives",
    "num_objects": "objects",
    "num_detections": "detections",
}
EXACT = (("mota", "mota"), ("pre", "precision"), ("rec", "recall"))
#: Sums of distances depend on the order of summation in their last bits.
SUMS = {"rtol": 1e-12, "atol": 0}


def same(values, wanted):
    return np.array_equal(np.array(values, dtype=float), np.array(wanted, dtype=float), equal_nan=True)


def counted(sequences, predictions, **options):
    compat = options.pop("compat", "official")
    scene = without_last_frames(poseval_scene(sequences, predictions, compat=compat))
    return count_tracking(scene, **options)


def check(counts, wanted, engine):
    values = tracking(counts)
    for key, name in EXACT:
        assert same(getattr(values, name), wanted["MOT"][key]), key
    motp = values.motp_head if engine == "head" else values.motp
    np.testing.assert_allclose(motp, np.array(wanted["MOT"]["motp"], dtype=float), **SUMS)
    for key, name in COUNTS.items():
        assert getattr(counts, name).sum(axis=0).tolist() == wanted["MOT_counts"][key]
    distance = counts.distance_head if engine == "head" else counts.distance
    np.testing.assert_allclose(distance.sum(axis=0), wanted["MOT_counts"]["sumD"], **SUMS)


@pytest.mark.parametrize("engine", ["head", "legacy"])
@pytest.mark.parametrize("name", ("tiny", "small", "rawfloat", "medium", "pt18_sample_x4", "ties"))
def test_sets(name, engine):
    wanted = goldens.expected(name, f"poseval_{engine}")
    counts = counted(*goldens.load(name), assignment=engine)
    check(counts, wanted, engine)
    sequences = goldens.load(name)[0]
    for number, sequence in enumerate(sequences):
        if "per_sequence" in wanted and "error" not in wanted["per_sequence"][sequence.name]["MOT"]:
            own = wanted["per_sequence"][sequence.name]["MOT"]
            assert same(tracking(counts, rows=np.array([number])).mota, own["mota"])


@pytest.mark.parametrize("engine", ["head", "legacy", "copy_without_duplicate_check"])
@pytest.mark.parametrize("name", sorted(goldens.edge_cases()))
def test_edge_case(name, engine, tmp_path):
    case = goldens.edge_cases()[name]
    wanted = case["expected"][f"poseval_{engine}"]
    root = goldens.write_case(case, tmp_path)
    if "load" in wanted:
        with pytest.raises(DataError):
            score(*goldens.read_folder(root))
        return
    sequences, predictions = goldens.read_folder(root)
    if name == "format17_no_track_ids":
        with pytest.raises(DataError, match="no track id"):
            counted(sequences, predictions)
    elif name == "single_frame_sequence":
        assert wanted["MOT"] == {"error": "IndexError"}
        scores = score(sequences, predictions)
        assert np.isnan(scores.value("mota"))
        assert any("one evaluated frame" in text for text in scores.warnings)
    else:
        assignment = "head" if engine == "head" else "legacy"
        compat = "fixed" if engine.startswith("copy") and name == "duplicate_track_id" else "official"
        counts = counted(sequences, predictions, compat=compat, assignment=assignment)
        # The stored copies ran with the older tracking library.
        check(counts, wanted, "head" if engine == "head" else "legacy")


def test_scores_carry_tracking_in_both_definitions():
    scores = score(*goldens.load("small"), per_sequence=True)
    head, legacy = (goldens.expected("small", f"poseval_{engine}")["MOT_table"] for engine in ("head", "legacy"))
    groups = [*scores.groups("mota").values()]
    assert same(groups, head[:8])
    np.testing.assert_allclose(scores.value("motp_head"), head[8], **SUMS)
    np.testing.assert_allclose(scores.value("motp"), legacy[8], **SUMS)
    assert scores.value("mot_precision") == head[9] and scores.value("mot_recall") == head[10]
    found = poseval_json(scores)["mot"]
    assert found["mota"]["total"] == head[7] and list(found["groups"].values()) == head[:8]
    name = goldens.load("small")[0][0].name
    own = goldens.expected("small", "poseval_head")["per_sequence"][name]["MOT"]
    assert same([row.value for row in scores.select(metric="mota", slice=f"sequence:{name}").entries], own["mota"])


def test_fixed_counts_the_last_frame_and_every_missed_person(tmp_path):
    """Three frames; the middle one has two people and no prediction: 2 misses each joint, no invented objects."""
    root = goldens.write_case(goldens.edge_cases()["frame_without_prediction"], tmp_path)
    sequences, predictions = goldens.read_folder(root)
    people = np.bincount(sequences[0].truth.frame).tolist()
    assert len(set(predictions.frame.tolist())) == 2
    fixed = score(sequences, predictions, compat="fixed")
    found = (people[0] + people[2]) / sum(people)
    np.testing.assert_allclose(fixed.value("mota"), 100 * found)
    assert fixed.value("mot_precision") == 100


def test_tracking_is_left_out_where_nobody_is_tracked():
    sequences, predictions = goldens.load("tiny")
    untracked = dataclasses.replace(predictions, track_ids=np.full(len(predictions), NO_TRACK))
    assert not score(sequences, untracked).by_joint("mota")
    assert "mot" not in poseval_json(score(sequences, untracked))
    with pytest.raises(DataError, match="no track id"):
        score(sequences, untracked, tracking=True)
    assert not score(sequences, predictions, tracking=False).by_joint("mota")


@pytest.mark.parametrize("side", ["truth", "predicted"])
def test_the_one_person_without_a_track_id_is_named(side):
    here, there = small.pose(100, 50), small.pose(700, 50)
    ids = {"truth": [1, 2], "predicted": [1, 2]} | {side: [1, NO_TRACK]}
    sequences = (small.sequence([(0, ids["truth"][0], here), (1, ids["truth"][1], there)]),)
    found = small.predictions([(0, ids["predicted"][0], here), (1, ids["predicted"][1], there)], sequences)
    expected = rf"^sequence 000001_mpii_test, frame 1: a {side} person has no track id \(1 of 2\); tracking needs one"
    with pytest.raises(DataError, match=expected):
        count_tracking(poseval_scene(sequences, found))


def test_who_was_followed_is_followed_on_though_another_came_nearer():
    """Found as 7 in the first frame; in the second 7 is 20 px off and 8 only 5: no joint changes its identity."""
    here = small.pose(100, 50)
    sequences = (small.sequence([(0, 1, here), (1, 1, here)]),)
    found = [(0, 7, here), (1, 7, here + np.array([20.0, 0.0])), (1, 8, here + np.array([5.0, 0.0]))]
    counts = count_tracking(poseval_scene(sequences, small.predictions(found, sequences)))
    values = tracking(counts)
    assert not counts.switches.any() and values.mota.tolist() == [50.0] * 16
    assert values.motp[:15] == pytest.approx(100 * (1 - 20 / 60 / 2))
