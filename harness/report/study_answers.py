"""Answers: yes, no or not shown for every arm of a question, with the differences they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from harness.report.comparable import same_machine
from harness.report.studies import Place, Question, Study, place_named
from harness.report.study_runs import DrawStore, chosen
from harness.results import StoredRun
from harness.scoring.arms import LEVEL, Apart, Bounded, Drawn, apart, apart_at, arm_value, mean_of
from harness.scoring.differences import holm
from harness.scoring.localisation import ERRORS
from harness.scoring.uncertainty import COLUMNS

__all__ = ["Answer", "Compared", "Costs", "StudyAnswers", "answer_study", "costs_of", "verdict"]

YES, NO, NOT_SHOWN = "yes", "no", "not shown"


@dataclass(frozen=True)
class Costs:
    """What the runs of an arm cost: means; None where a run does not say, or speeds are of different machines."""

    parameters: float | None
    multiply_adds: float | None
    clips_per_second: float | None


@dataclass(frozen=True)
class Compared:
    """One arm against one baseline in one place; `p_holm` is corrected over all of the question."""

    arm: str
    baseline: str
    place: Place
    value: Bounded
    reference: Bounded
    apart: Apart
    items: int
    sequences: int
    p_holm: float
    verdict: str
    #: PCKh@0.1 apart, of questions that ask for `errors`.
    nearer: Apart | None = None

    @property
    def survives(self) -> bool:
        """Whether the answer holds after Holm's correction too."""
        return self.verdict == NOT_SHOWN or self.p_holm <= 1 - LEVEL + 1e-12

    @property
    def seeds_overlap(self) -> bool:
        """Whether the better arm's worst seed is no better than the best of the other: chance may decide."""
        pair = sorted((self.value, self.reference), key=lambda each: each.value)
        return min(len(each.runs) for each in pair) > 1 and max(pair[0].runs) >= min(pair[1].runs)


@dataclass(frozen=True)
class Answer:
    """A question with what was found: the verdict of every arm at the headline, and every comparison."""

    question: Question
    verdicts: Mapping[str, str]
    compared: tuple[Compared, ...]
    cheaper: Mapping[str, str]
    lacking: tuple[str, ...] = ()

    @property
    def headline(self) -> tuple[Compared, ...]:
        """The comparisons at the headline's place."""
        place = place_named(self.question.headline)
        return tuple(each for each in self.compared if each.place == place)

    def firm(self, arm: str) -> bool:
        """Whether an arm's verdict stands after Holm's correction: every difference of a yes, any one of a no."""
        found = self.verdicts[arm]
        same = [each.survives for each in self.headline if each.arm == arm and each.verdict == found]
        if found == NO:
            return any(same) or self.cheaper.get(arm) == NO
        return all(same)


@dataclass(frozen=True)
class StudyAnswers:
    """All answers of a study, with the arms they rest on: runs, AP by place, cost."""

    study: Study
    runs: Mapping[str, Sequence[StoredRun]]
    values: Mapping[str, Mapping[Place, Bounded]]
    costs: Mapping[str, Costs]
    answers: tuple[Answer, ...]
    #: By arm, how near its joints lie, in the order of `ERRORS`; of arms in questions that ask for it.
    errors: Mapping[str, tuple[Bounded, ...]] = field(default_factory=dict)

    def by_chance(self, answer: Answer, arm: str) -> bool:
        """Whether an arm of one run is compared with other weights: no spread of seeds says what chance did."""

        def weights(name: str) -> set[str | None]:
            return {run.record.weights.sha256 if run.record.weights else None for run in self.runs[name]}

        others = [each.baseline for each in answer.headline if each.arm == arm]
        return len(self.runs[arm]) == 1 and any(weights(arm) != weights(name) for name in others)


def answer_study(
    study: Study, runs: Sequence[StoredRun], store: DrawStore, *, missing_ok: bool = False
) -> StudyAnswers:
    """Choose the runs, draw sequences once for all of them, and answer every question.

    Raises UsageError or DataError where runs are missing or cannot be compared, CheckError where the predictions of a
    run do not give the AP of its record.
    """
    arms = chosen(study, runs, missing_ok=missing_ok)
    places = {place_named(name) for question in study.questions for name in study.places_of(question)}
    labels = sorted({place.slice for place in places})
    unique = {str(run.folder): run for each in arms.values() for run in each}
    drawn = {key: store.get(run, labels, replicates=study.replicates, seed=study.seed) for key, run in unique.items()}
    draws = {name: [drawn[str(run.folder)] for run in each] for name, each in arms.items()}
    values = {
        name: {place: arm_value(_bins(found, place), place.column) for place in places if _there(found, place)}
        for name, found in draws.items()
    }
    answers = tuple(_answer(study, question, draws, values, _costs(arms)) for question in study.questions)
    asked = {name for question in study.questions if question.errors for name in question.named if name in arms}
    near = {
        name: [store.errors(run, replicates=study.replicates, seed=study.seed) for run in arms[name]] for name in asked
    }
    errors = {name: tuple(mean_of(found, place) for place in range(len(ERRORS))) for name, found in near.items()}
    answers = tuple(_with_errors(answer, near) if answer.question.errors else answer for answer in answers)
    return StudyAnswers(study, arms, values, _costs(arms), answers, errors)


def verdict(low: float, high: float, *, margin: float = 0.0) -> str:
    """ "yes" where the interval lies above -margin, "no" where it lies below it, else "not shown".

    >>> verdict(0.2, 1.1), verdict(-1.1, -0.2), verdict(-0.4, 0.3)
    ('yes', 'no', 'not shown')
    >>> verdict(-0.4, -0.1, margin=0.5), verdict(-0.9, -0.4, margin=0.5), verdict(-0.9, -0.6, margin=0.5)
    ('yes', 'not shown', 'no')
    """
    if math.isnan(low):
        return NOT_SHOWN
    return YES if low > -margin else NO if high < -margin else NOT_SHOWN


def costs_of(runs: Sequence[StoredRun]) -> Costs:
    """Means over the runs of an arm."""
    costs = [run.record.cost for run in runs]
    speeds = [cost.clips_per_second for cost in costs] if same_machine([run.record for run in runs]) else [None]
    return Costs(
        _mean([cost.parameters for cost in costs]), _mean([cost.multiply_adds for cost in costs]), _mean(speeds)
    )


def _answer(
    study: Study,
    question: Question,
    draws: Mapping[str, list[Mapping[str, Drawn]]],
    values: Mapping[str, Mapping[Place, Bounded]],
    costs: Mapping[str, Costs],
) -> Answer:
    places = [place_named(name) for name in study.places_of(question)]
    pairs = [pair for pair in question.pairs if all(name in draws for name in pair)]
    compared = [
        _compared(pair, place, draws, values, question.margin)
        for pair in pairs
        for place in places
        if all(place in values[name] for name in pair)
    ]
    corrected = holm([each.apart.p for each in compared])
    compared = [replace(each, p_holm=p) for each, p in zip(compared, corrected, strict=True)]
    head = [each for each in compared if each.place == places[0]]
    cheaper = _cheaper(question, pairs, costs)
    names = dict.fromkeys(arm for arm, _ in pairs)
    verdicts = {
        name: _all([*(each.verdict for each in head if each.arm == name), *([cheaper[name]] if cheaper else [])])
        for name in names
    }
    lacking = tuple(dict.fromkeys(name for pair in question.pairs for name in pair if name not in draws))
    return Answer(question, verdicts, tuple(compared), cheaper, lacking)


def _with_errors(answer: Answer, near: Mapping[str, Sequence[Drawn]]) -> Answer:
    """The answer with how much nearer each arm places joints than its baseline, wherever they are compared."""
    place = ERRORS.index("pckh_01")
    compared = [replace(each, nearer=apart_at(near[each.arm], near[each.baseline], place)) for each in answer.compared]
    return replace(answer, compared=tuple(compared))


def _compared(
    pair: tuple[str, str],
    place: Place,
    draws: Mapping[str, list[Mapping[str, Drawn]]],
    values: Mapping[str, Mapping[Place, Bounded]],
    margin: float,
) -> Compared:
    arm, baseline = (_bins(draws[name], place) for name in pair)
    found = apart(arm, baseline, place.column, margin=margin)
    return Compared(
        *pair, place, values[pair[0]][place], values[pair[1]][place], found,
        items=int(arm[0].items[COLUMNS.index(place.column)]), sequences=arm[0].sequences, p_holm=math.nan,
        verdict=verdict(found.low, found.high, margin=margin),
    )  # fmt: skip


def _cheaper(question: Question, pairs: Sequence[tuple[str, str]], costs: Mapping[str, Costs]) -> dict[str, str]:
    """By arm, whether it costs less than all its baselines; "not shown" where a cost is not known."""
    if not question.cheaper:
        return {}
    found: dict[str, list[str]] = {}
    for arm, baseline in pairs:
        own, other = (getattr(costs[name], question.cheaper) for name in (arm, baseline))
        known = own is not None and other is not None
        less = known and (own > other if question.cheaper == "clips_per_second" else own < other)
        found.setdefault(arm, []).append(NOT_SHOWN if not known else YES if less else NO)
    return {arm: _all(each) for arm, each in found.items()}


def _all(verdicts: Sequence[str]) -> str:
    """Yes if all are, no if one is.

    >>> _all(["yes", "not shown"]), _all(["yes", "no", "not shown"])
    ('not shown', 'no')
    """
    if NO in verdicts:
        return NO
    return YES if verdicts and all(each == YES for each in verdicts) else NOT_SHOWN


def _costs(arms: Mapping[str, Sequence[StoredRun]]) -> dict[str, Costs]:
    """Costs by arm; no speeds at all where the arms ran on different machines."""
    comparable = same_machine([run.record for runs in arms.values() for run in runs])
    found = {name: costs_of(runs) for name, runs in arms.items()}
    return found if comparable else {name: replace(each, clips_per_second=None) for name, each in found.items()}


def _bins(draws: Sequence[Mapping[str, Drawn]], place: Place) -> list[Drawn]:
    return [each[place.slice] for each in draws]


def _there(draws: Sequence[Mapping[str, Drawn]], place: Place) -> bool:
    return all(place.slice in each for each in draws)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) and known else None
