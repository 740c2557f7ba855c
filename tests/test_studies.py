"""Studies: which runs an arm means, differences of arms by hand and against other code, verdicts, the page."""

from __future__ import annotations

import csv
import math
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_scenes import random_run

from harness.errors import CheckError, DataError, UsageError
from harness.predictions import write_parquet
from harness.records import BoxesUsed, MethodUsed, Partial, PredictionsFile, WeightsUsed
from harness.report.forest import overview
from harness.report.studies import PLACES, Selector, Study, place_named, read_study
from harness.report.study_answers import answer_study, verdict
from harness.report.study_page import study_markdown, write_study
from harness.report.study_runs import DrawStore, chosen, fits
from harness.results import StoredRun
from harness.scoring import score
from harness.scoring.arms import Drawn, apart, arm_value, draw
from harness.scoring.comparison import compare_matched
from harness.scoring.matched import match_run
from harness.scoring.scores import joint_rows
from harness.scoring.uncertainty import COLUMNS
from harness.typed_json import from_plain

TOML = """
title = "Hand made"
places = ["overall", "wrists"]
[arms.a]
title = "A | method"
seeds = 2
runs = [{ method = "a", label = "seed *" }]
[arms.b]
runs = [{ method = "b" }]
[arms.c]
runs = [{ method = "c" }]
[[questions]]
name = "better"
ask = "Is A better?"
arms = ["a"]
baselines = ["b"]
[[questions]]
name = "equal"
ask = "Is C as good as B?"
arms = ["c"]
against.c = ["b"]
margin = 2.0
cheaper = "parameters"
"""


def study() -> Study:
    return from_plain(Study, tomllib.loads(TOML))


def stored(name: str, label: str = "", *, parameters: int = 1000, **changes: object) -> StoredRun:
    from test_tables import make_run

    record = make_run(name, 50.0, label=label, **changes)
    record = replace(record, method=MethodUsed(name, name.upper(), "tiny"), scores=(),
                     cost=replace(record.cost, parameters=parameters))  # fmt: skip
    return StoredRun(record, Path(f"/runs/{name}-{label}"), {"id": f"{name}-{label}"})


def drawn(values: list[float], *, total: float | None = None) -> Drawn:
    """A run whose every column is `values` over the draws."""
    draws = np.repeat(np.array(values)[:, None], len(COLUMNS), axis=1)
    value = np.full(len(COLUMNS), np.mean(values) if total is None else total)
    return Drawn(value, draws, np.arange(len(COLUMNS)), 12)


class FakeStore:
    """Draws by method and label in place of computed ones."""

    def __init__(self, by_run: dict[str, Drawn]) -> None:
        self.by_run = by_run

    def get(self, run: StoredRun, labels: list[str], **_: int) -> dict[str, Drawn]:
        return dict.fromkeys(labels, self.by_run[run.id])

    def errors(self, run: StoredRun, **_: int) -> Drawn:
        """As if AP were the share of near joints, and the median its tenth."""
        found = self.by_run[run.id]
        near = found.draws[:, 0]
        return Drawn(found.value[0] * np.array([0.1, 1]), np.column_stack([near / 10, near]), np.ones(2), 12)


def answered(asked: Study | None = None):
    ramp = np.linspace(-1, 1, 401)
    store = FakeStore({
        "a-seed 0": drawn((53 + ramp).tolist()), "a-seed 1": drawn((55 + ramp).tolist()),
        "b-": drawn((50 - ramp).tolist()), "c-": drawn((49.5 - 1.5 * ramp).tolist()),
    })  # fmt: skip
    runs = [stored("a", "seed 0"), stored("a", "seed 1"), stored("b"), stored("c", parameters=900)]
    return answer_study(asked or study(), runs, store)


def test_a_question_of_errors_shows_how_near_joints_lie() -> None:
    asked = study()
    first, second = asked.questions
    found = answered(replace(asked, questions=(replace(first, errors=True), second)))
    assert set(found.errors) == {"a", "b"} and found.errors["a"][1].runs == (53.0, 55.0)
    (better,) = found.answers[0].headline
    assert better.nearer and (better.nearer.low, better.nearer.high) == pytest.approx((2.1, 5.9))
    assert found.answers[1].headline[0].nearer is None
    text = study_markdown(found, {})
    assert "PCKh@0.1 +4.0 [+2.1, +5.9]." in text and r"5.40 \[5.3" in text
    before, after = text.split("Is C as good as B?\n")
    assert before.count("half within, px") == 1 and "half within, px" not in after
    assert "PCKh" not in study_markdown(answered(), {})


def test_differences_of_seed_means_by_hand() -> None:
    first, second = answered().answers
    (better,) = first.headline
    assert better.value.runs == (53.0, 55.0) and better.value.value == pytest.approx(54.0)
    # draws of A are 54 + r, of B 50 - r for r even in -1 .. 1: the difference is 4 + 2r, its 95 % interval 4 -+ 1.9
    assert (better.apart.difference, better.apart.low, better.apart.high) == pytest.approx((4.0, 2.1, 5.9))
    assert better.verdict == "yes" and better.survives and not better.seeds_overlap
    (equal,) = second.headline
    # -0.5 - 0.5r: [-0.975, -0.025] lies above -2 (yes, within the margin) though below 0
    assert (equal.apart.low, equal.apart.high) == pytest.approx((-0.975, -0.025))
    assert equal.verdict == "yes" and second.cheaper == {"c": "yes"} and second.verdicts == {"c": "yes"}


def test_verdicts_and_p_on_either_side_of_the_line() -> None:
    assert [verdict(*pair) for pair in ((0.1, 2), (-2, -0.1), (-1, 1), (math.nan, math.nan))] == [
        "yes", "no", "not shown", "not shown",
    ]  # fmt: skip
    assert verdict(-3, -2.5, margin=2) == "no" and verdict(-3, 1, margin=2) == "not shown"
    flat = drawn([50.0] * 399)
    near = drawn([50.0 + (1 if number >= 20 else -1) for number in range(399)])
    assert apart([near], [flat], "total").p == pytest.approx(2 * 21 / 400)  # 20 draws of 399 lie below 0
    assert apart([near], [flat], "total", margin=2).p < 2 / 400  # none lies below -2
    assert apart([near], [near], "total").p == 1.0


def test_the_short_answer_says_what_falls_to_the_correction() -> None:
    found = answered()
    first = found.answers[0]
    (better,) = first.headline
    assert first.firm(better.arm) and "| **yes** |" in study_markdown(found, {})
    doubtful = replace(first, compared=(replace(better, p_holm=0.2), *first.compared[1:]))
    assert not doubtful.firm(better.arm)
    text = study_markdown(replace(found, answers=(doubtful, *found.answers[1:])), {})
    assert "| yes, but not after Holm |" in text and "Answer: yes, but not after Holm." in text
    worse = replace(better, verdict="no", p_holm=0.2)
    other = replace(worse, baseline="other", p_holm=0.001)
    refused = replace(first, verdicts={better.arm: "no"}, compared=(worse,))
    assert not refused.firm(better.arm)
    assert replace(refused, compared=(worse, other)).firm(better.arm), "one firm no is enough"
    assert replace(refused, cheaper={better.arm: "no"}).firm(better.arm)


def test_seeds_that_overlap_are_said() -> None:
    low, high = [drawn([50.0, 52.0] * 9), drawn([53.0, 55.0] * 9)], [drawn([52.0, 54.0] * 9), drawn([57.0, 59.0] * 9)]
    values = [arm_value(runs, "total").runs for runs in (low, high)]
    assert values == [(51.0, 54.0), (53.0, 58.0)]
    found = answered().answers[0].headline[0]
    overlapping = replace(found, value=arm_value(high, "total"), reference=arm_value(low, "total"))
    assert overlapping.seeds_overlap


def test_a_difference_is_that_of_the_comparison_of_two_runs() -> None:
    data, first = random_run(3, sequences=9, frames=8)
    second = replace(first, joints=first.joints + np.random.default_rng(1).normal(0, 6, first.joints.shape))
    a, b = (match_run(data, predictions) for predictions in (first, second))
    places = ["all", "visibility:visible"]
    drawn_a, drawn_b = (draw(run, places, replicates=300) for run in (a, b))
    there = compare_matched(
        a, b, slices=["all", "visibility"], replicates=300, permutations=100
    )  # fmt: skip
    for place in places:
        for column in ("total", "Wrist", "nose"):
            row = there.row(column, slice=place)
            found = apart([drawn_b[place]], [drawn_a[place]], column)
            assert (found.difference, found.low, found.high) == pytest.approx(
                (row.difference, row.low, row.high), abs=1e-4, nan_ok=True
            )
            assert drawn_a[place].items[COLUMNS.index(column)] == row.n_truth
    assert drawn_a["all"].value[-1] == pytest.approx(score(data, first).value("ap"), abs=1e-4)


def test_too_few_sequences_have_no_interval() -> None:
    data, predictions = random_run(5, sequences=3, frames=6)
    found = draw(match_run(data, predictions), ["all"])["all"]
    assert found.draws.shape == (0, len(COLUMNS)) and math.isnan(apart([found], [found], "total").low)


def test_a_selector_takes_whole_runs_with_exactly_its_request() -> None:
    run = stored("a", "seed 1").record
    assert fits(Selector(method="a", label="seed *", weights="w", preset="t*"), run)
    assert fits(Selector(weights="abab"), run) and not fits(Selector(weights="ba"), run)
    assert not fits(Selector(method="b"), run) and not fits(Selector(label=""), run)
    probed = replace(run, request={"probe": "freeze"})
    assert not fits(Selector(method="a"), probed) and fits(Selector(method="a", request={"probe": "freeze"}), probed)
    interrupted = replace(probed, partial=Partial("probe: freeze"))  # as every run under a probe is
    assert fits(Selector(method="a", request={"probe": "freeze"}), interrupted)
    assert not fits(Selector(request={"probe": "freeze"}), replace(probed, partial=Partial("probe: freeze; 2 of 4")))
    read_otherwise = replace(run, request={"codec": "dark"})  # and so is the codec of its inference
    assert not fits(Selector(method="a"), read_otherwise) and fits(Selector(codec="heatmap"), read_otherwise)
    assert not fits(Selector(method="a"), replace(run, partial=Partial("2 of 4")))
    assert not fits(Selector(weights="w"), replace(run, weights=None))
    assert fits(Selector(weights="w"), replace(run, weights=WeightsUsed("w", "sha256:00")))


def test_missing_arms_wrong_counts_and_other_boxes_are_told() -> None:
    runs = [stored("a", "seed 0"), stored("b"), stored("c")]
    with pytest.raises(DataError, match="arm 'a' should have 2 runs, its selectors find 1"):
        chosen(study(), runs)
    assert set(chosen(study(), runs, missing_ok=True)) == {"a", "b", "c"}
    with pytest.raises(UsageError, match="for arm b, c"):
        chosen(study(), [stored("a", "seed 0"), stored("a", "seed 1")])
    assert "b" not in chosen(study(), [stored("a", "seed 0")], missing_ok=True)
    other = stored("b", boxes=BoxesUsed("detector.json", "sha256:11", 9))
    mixed = [stored("a", "seed 0"), stored("a", "seed 1"), other, stored("c")]
    with pytest.raises(DataError, match=r"question 'better': .*boxes differ.*detector.json .*across_boxes"):
        chosen(study(), mixed)
    questions = tuple(replace(each, across_boxes=True) for each in study().questions)
    assert len(chosen(replace(study(), questions=questions), mixed)) == 3
    relabelled = replace(other.record, dataset=replace(other.record.dataset, fingerprint="sha256:99"))
    with pytest.raises(DataError, match="labels or protocol differ"):
        chosen(replace(study(), questions=questions), [*mixed[:2], replace(other, record=relabelled), mixed[3]])


def test_a_question_across_boxes_says_which_each_arm_had() -> None:
    found = answered()
    plain = study_markdown(found, {})
    assert "rank nothing" not in plain and "| boxes" not in plain
    first = found.answers[0]
    across = replace(first, question=replace(first.question, across_boxes=True))
    boxless = [replace(run, record=replace(run.record, boxes=BoxesUsed("none", None, 9))) for run in found.runs["a"]]
    text = study_markdown(replace(found, answers=(across,), runs={**found.runs, "a": boxless}), {})
    assert "Costs are of one person's crop" in text and "Costs are of one" not in plain
    assert "rank nothing" in text and "| no boxes (whole frames) |" in text and " truth (efefefef) |" in text
    assert r"| A \| method | `a-" in text, "a bar in a title does not end its cell"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('baselines = ["b"]', 'baselines = ["x"]: no arm'),
        ('arms = ["a"]\nbaselines', 'arm = ["a"]\nbaselines: unknown field'),
        ('"overall", "wrists"', '"overall", "wrist": unknown place'),
        ('name = "better"', 'name = "equal": its own'),
        ('cheaper = "parameters"', 'cheaper = "money": expected'),
    ],
)
def test_a_wrong_file_is_told_by_its_field(tmp_path: Path, change: str, message: str) -> None:
    new, expected = message.rsplit(": ", 1)
    path = tmp_path / "study.toml"
    path.write_text(TOML.replace(change, new))
    with pytest.raises(DataError, match=expected) as caught:
        read_study(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_places_by_name_and_by_bin() -> None:
    assert place_named("wrists") == PLACES["wrists"] and place_named("speed:slow/Knee").column == "Knee"
    for wrong in ("speed:quick", "speed:slow/wing", "velocity:fast"):
        with pytest.raises(UsageError):
            place_named(wrong)


def test_the_page_and_the_csv_say_what_was_found(tmp_path: Path) -> None:
    found = answered()
    written = write_study(found, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| [Is A better?](#better) | **yes** |" in text
    assert "A | method against b, overall: **yes**, +4.0 AP [+2.1, +5.9]" in text
    assert "A \\| method" in text and "53.0 to 55.0" in text and "cheaper: yes (0.90 of the parameters)" in text
    assert "![Is A better?](page/better.svg)" in text and (tmp_path / "page" / "better.svg").stat().st_size > 2000
    rows = list(csv.DictReader((tmp_path / "page" / "differences.csv").open()))
    compared = [each for answer in found.answers for each in answer.compared]
    assert [float(row["difference"]) for row in rows] == [each.apart.difference for each in compared]
    assert len(rows) == 4 and all(path.is_file() for path in written)


def test_a_study_chooses_its_columns_of_cost(tmp_path: Path) -> None:
    found = answered()
    assert all(title in study_markdown(found, {}) for title in ("M params", "G multiply-adds", "clips/s"))
    fewer = replace(found, study=replace(found.study, costs=("parameters",)))
    text = study_markdown(fewer, {})
    assert "M params" in text and "G multiply-adds" not in text and "clips/s" not in text
    path = tmp_path / "study.toml"
    path.write_text('costs = ["parameters", "money"]\n' + TOML)
    with pytest.raises(DataError, match="costs: no 'money'; there are parameters"):
        read_study(path)


def test_arms_that_have_not_run_are_left_out_and_named() -> None:
    ramp = np.linspace(-1, 1, 41).tolist()
    store = FakeStore({"b-": drawn(ramp), "c-": drawn(ramp)})
    found = answer_study(study(), [stored("b"), stored("c")], store, missing_ok=True)
    text = study_markdown(found, {})
    assert "| [Is A better?](#better) | not run yet |" in text and "left out: A | method" in text


def test_draws_are_kept_and_checked_against_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, predictions = random_run(7, sequences=8, frames=6)
    write_parquet(predictions, tmp_path / "p.parquet")
    total = score(data, predictions).value("ap")
    record = replace(
        stored("a").record, predictions=PredictionsFile("p.parquet", "sha256:1", len(predictions)),
        scores=tuple(joint_rows("poseval", "ap", "all", [0.0] * 15 + [total], n_truth=[1] * 16, n_predicted=[1] * 16)),
    )  # fmt: skip
    run = StoredRun(record, tmp_path, {})
    store = DrawStore(tmp_path / "draws")
    monkeypatch.setattr(DrawStore, "_dataset", lambda *_: data)
    monkeypatch.setattr("harness.report.study_runs.same_sequences", lambda dataset, *_: dataset)
    first = store.get(run, ["all"], replicates=50, seed=0)["all"]
    monkeypatch.setattr(DrawStore, "_drawn", lambda *_, **__: pytest.fail("computed again"))
    again = store.get(run, ["all"], replicates=50, seed=0)["all"]
    assert np.allclose(first.draws, again.draws, atol=1e-4) and again.sequences == 8
    (path,) = (tmp_path / "draws").iterdir()
    whole = path.read_bytes()
    monkeypatch.setattr(DrawStore, "_drawn", lambda *_, **__: {"all": first})
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:60] + bytes(60) + whole[120:]):
        path.write_bytes(damaged)
        assert store.get(run, ["all"], replicates=50, seed=0)["all"].sequences == 8
        assert path.read_bytes() == whole  # drawn again
    tampered = replace(record, scores=(replace(record.scores[-1], value=total + 1),))
    with pytest.raises(CheckError, match="from its predictions"):
        store.get(replace(run, record=tampered), ["all"], replicates=50, seed=0)


def test_answers_of_one_training_are_marked_unless_the_weights_are_the_same() -> None:
    found = answered()
    weights = {name: WeightsUsed(name, digest * 64) for name, digest in (("own", "a"), ("other", "b"))}

    def page(c: str, b: str) -> str:
        runs = {**found.runs}
        for arm, name in (("c", c), ("b", b)):
            runs[arm] = [replace(run, record=replace(run.record, weights=weights[name])) for run in found.runs[arm]]
        return study_markdown(replace(found, runs=runs), {})

    row = next(line for line in page("own", "other").splitlines() if "(#equal)" in line)
    assert row.endswith("¹ |") and "¹ One training:" in page("own", "other")
    assert "(#better) | **yes** |" in page("own", "other"), "two seeds are no single training"
    assert "¹" not in page("own", "own"), "one network, read in two ways"


def test_an_answer_elsewhere_than_overall_says_where() -> None:
    found = answered()
    asked = replace(found.study.questions[0], headline="wrists")
    text = study_markdown(answered(replace(found.study, questions=(asked,))), {})
    assert "| **yes** (wrists) |" in text and "Answer: **yes** (wrists)." in text


def test_long_labels_leave_room_for_the_axis() -> None:
    found = answered()
    arms = {**found.study.arms, "a": replace(found.study.arms["a"], title="word " * 19)}
    figure = overview(replace(found.study, arms=arms), [found.answers[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the layout says where it finds no room
        figure.draw_without_rendering()
    assert figure.axes[0].get_position().width > 0.3


def test_one_far_answer_does_not_press_the_others_together() -> None:
    """The overview's axis ends before an answer three times as far as most; an arrow says which way it lies."""
    found = answered()
    (head,) = found.answers[0].headline
    far = replace(head, apart=replace(head.apart, difference=-45.0, low=-48.0, high=-42.0))
    axes = overview(found.study, [replace(found.answers[0], compared=(head,) * 8 + (far,))]).axes[0]
    low, high = axes.get_xlim()
    assert -high == low and -20 < low < -head.apart.high
    plain = overview(found.study, [replace(found.answers[0], compared=(head,) * 8)]).axes[0]
    assert plain.get_xlim()[0] > -20
