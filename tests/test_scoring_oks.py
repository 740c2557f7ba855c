"""OKS AP equals xtcocotools' on the golden sets; single persons by hand."""

import builtins
import dataclasses
import math

import numpy as np
import poseval_goldens as goldens
import pytest

from harness.errors import HarnessError
from harness.scoring import OksOptions, oks_json, score, score_oks
from harness.skeletons import OKS_SIGMAS, POSETRACK15, POSETRACK17

#: The goldens use the stored person scores, all images, and the files' third value as the flag.
UPSTREAM = OksOptions(occluded=False, person_score="person", labelled_only=False, use_area=True)


def crowds(sequences):
    numbers = np.split(
        np.arange(sum(len(item.truth) for item in sequences)), np.cumsum([len(item.truth) for item in sequences])[:-1]
    )
    return [number % 11 == 3 for number in numbers]


def variant(name, sequences, predictions):
    rounded = [round(score * 5) / 5 for score in predictions.box_scores.tolist()]
    return {
        "use_area_true": (UPSTREAM, None, predictions),
        "use_area_false_bbox053": (dataclasses.replace(UPSTREAM, use_area=False), None, predictions),
        "labelled_images_only": (dataclasses.replace(UPSTREAM, labelled_only=True), None, predictions),
        "every_11th_gt_from_index3_iscrowd": (UPSTREAM, crowds(sequences), predictions),
        "scores_rounded_to_fifths": (UPSTREAM, None, dataclasses.replace(predictions, box_scores=np.array(rounded))),
    }[name]


@pytest.mark.parametrize("name", ["tiny", "small", "pt18_sample", "pt18_sample_x4"])
@pytest.mark.parametrize("kind", [
    "use_area_true", "use_area_false_bbox053", "labelled_images_only", "every_11th_gt_from_index3_iscrowd",
    "scores_rounded_to_fifths",
])  # fmt: skip
def test_goldens(name, kind):
    sequences, predictions = goldens.load(name, visibility="zero")
    options, crowd, chosen = variant(kind, sequences, predictions)
    found = oks_json(score_oks(sequences, chosen, options=options, crowd=crowd))
    wanted = goldens.expected(name, "oks")[kind]["stats"]
    for metric, value in wanted.items():
        expected = None if value == -1 else pytest.approx(100 * value, rel=1e-12)
        assert found[metric.lower()] == expected, metric


def one_person(shift):
    """The first person of a set alone; the prediction is the truth moved to the right by `shift` px."""
    sequences, predictions = goldens.load("tiny")
    truth = sequences[0].truth
    alone = np.flatnonzero(truth.frame == truth.frame[0])[:1]
    columns = ("frame", "joints", "annotated", "boxes", "head_boxes", "track_ids", "person_ids", "has_points")
    own = dataclasses.replace(truth, **{name: getattr(truth, name)[alone] for name in columns}, visible=None)
    sequence = dataclasses.replace(sequences[0], truth=own)
    predicted = dataclasses.replace(
        predictions, sequence=np.zeros(1, dtype=int), frame=own.frame, person=np.zeros(1, dtype=int),
        track_ids=own.track_ids, boxes=own.boxes, box_scores=np.ones(1), joints=own.joints + np.array([shift, 0.0]),
        scores=np.ones(own.annotated.shape), present=own.annotated, whole_numbers=None,
    )  # fmt: skip
    return (sequence,), predicted


def test_one_person_by_hand():
    (sequence,), _ = one_person(0.0)
    truth = sequence.truth
    x1, y1, x2, y2 = truth.boxes[0]
    area = 0.53 * (x2 - x1) * (y2 - y1)
    names = [name for name in POSETRACK15.names if truth.annotated[0, POSETRACK17.index(name)]]
    for shift in (2.0, 6.0, 15.0):
        terms = [math.exp(-(shift**2) / (2 * OKS_SIGMAS[name]) ** 2 / area / 2) for name in names]
        similarity = sum(terms) / len(terms)
        thresholds = [threshold for threshold in np.linspace(0.5, 0.95, 10) if similarity >= threshold]
        labelled = OksOptions(labelled_only=True)
        found = score_oks(*one_person(shift), options=labelled)
        frames = sum(frame.labelled for frame in sequence.frames)
        assert found.facts["frames"] == frames
        assert found.value("ap", protocol="oks") == pytest.approx(100 * len(thresholds) / 10)


def test_single_joints_and_facts():
    sequences, predictions = goldens.load("small")
    found = score_oks(sequences, predictions, options=OksOptions(per_joint=True), per_sequence=False)
    joints = oks_json(found)["joints"]
    assert list(joints) == list(POSETRACK15.names)
    assert all(0 < value < 100 for value in joints.values())
    assert found.facts["oks"]["sigmas"]["head_top"] == 0.025 and found.facts["oks"]["use_area"] is False


def test_flagged_joints_can_be_left_out():
    sequences, predictions = goldens.load("small", visibility="zero")
    both, seen = (score_oks(sequences, predictions, options=OksOptions(occluded=flag)) for flag in (True, False))
    assert both.value("ap") != seen.value("ap")


def test_nothing_predicted_is_zero_and_sequences_are_named():
    sequences, predictions = goldens.load("small")
    none = dataclasses.replace(predictions, present=np.zeros_like(predictions.present))
    assert score(sequences, none, protocol="oks").value("ap") == 0
    rows = score(sequences, predictions, protocol="oks", per_sequence=True)
    assert 0 < rows.value("ap", slice=f"sequence:{sequences[1].name}") < 100


def test_missing_library_says_what_to_do(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **options):
        if name.startswith("xtcocotools"):
            raise ValueError("numpy.dtype size changed")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    remedy = r"with the pinned versions .* or build it: pip install --no-binary xtcocotools xtcocotools$"
    with pytest.raises(HarnessError, match=rf"does not load here .* built against numpy 1: install {remedy}"):
        score(*goldens.load("tiny"), protocol="oks")
