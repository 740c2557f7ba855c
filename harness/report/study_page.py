"""A study as a page: every question with its answer, tables and forest plot, in Markdown; and its numbers as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.boxes import NO_BOXES
from harness.errors import HarnessError
from harness.files import write_atomically
from harness.report.comparable import ground_of, machine_of
from harness.report.formats import render
from harness.report.studies import place_named
from harness.report.study_answers import Answer, Compared, Costs, StudyAnswers
from harness.report.tables import Cell, Column, Row, Section, Table, short_commit
from harness.scoring.arms import Bounded
from harness.scoring.localisation import ERRORS

__all__ = ["study_markdown", "study_rows", "write_study"]

_COST_NAMES = {"multiply_adds": "multiply-adds", "parameters": "parameters", "clips_per_second": "clips per second"}

_COST_COLUMNS = (
    Column("parameters", "M params", digits=2, scale=1e-6),
    Column("multiply_adds", "G multiply-adds", significant=3, scale=1e-9),
    Column("clips_per_second", "clips/s", significant=3),
)


def write_study(found: StudyAnswers, path: Path) -> list[Path]:
    """Write the page to `path`, and a folder of its name with the figures and the numbers; the paths written."""
    from harness.report.forest import forest, overview
    from harness.report.style import save

    folder = path.with_suffix("")
    drawn = [answer for answer in found.answers if _has_interval(answer.compared)]
    paths: list[Path] = []
    for answer in drawn:
        paths += save(forest(found.study, answer), folder / answer.question.name)
    if any(_has_interval(answer.headline) for answer in drawn):
        paths += save(overview(found.study, drawn), folder / "overview")
    figures = {figure.stem: f"{folder.name}/{figure.name}" for figure in paths if figure.suffix == ".svg"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "differences.csv", _csv(study_rows(found)).encode())
        write_atomically(path, study_markdown(found, figures).encode())
    except OSError as error:
        raise HarnessError(f"{path}: cannot be written ({error.strerror or error})") from None
    return [path, folder / "differences.csv", *paths]


def study_markdown(found: StudyAnswers, figures: Mapping[str, str]) -> str:
    """The page; `figures` maps "overview" and the names of questions to the addresses of their plots."""
    study = found.study
    blocks = [f"# {study.title}"]
    blocks += [study.intro.strip()] if study.intro else []
    blocks += ["| Question | Answer |\n|:--|:--|\n" + "\n".join(_in_short(found, each) for each in found.answers)]
    if any(found.by_chance(each, arm) for each in found.answers for arm in each.verdicts):
        blocks.append(
            f"{_ONE} One training: the interval is about which sequences were filmed, and chance in training is in "
            "none. Take differences of a point or two as open."
        )
    if "overview" in figures:
        blocks.append(f"![Every question at its headline]({figures['overview']})")
    for answer in found.answers:
        blocks += _question(found, answer, figures.get(answer.question.name))
    blocks += ["## How to read this", _reading(found), "## Runs", _runs(found)]
    return "\n\n".join(blocks) + "\n"


def study_rows(found: StudyAnswers) -> list[dict[str, Any]]:
    """Every comparison as a row of full precision, for CSV."""
    return [
        {
            "question": answer.question.name, "arm": each.arm, "baseline": each.baseline, "place": each.place.title,
            "slice": each.place.slice, "joint": each.place.column,
            "ap": each.value.value, "ap_low": each.value.low, "ap_high": each.value.high,
            "ap_runs": " ".join(map(str, each.value.runs)),
            "baseline_ap": each.reference.value, "baseline_ap_low": each.reference.low,
            "baseline_ap_high": each.reference.high, "baseline_ap_runs": " ".join(map(str, each.reference.runs)),
            "difference": each.apart.difference, "low": each.apart.low, "high": each.apart.high,
            "margin": answer.question.margin, "p": each.apart.p, "p_holm": each.p_holm, "verdict": each.verdict,
            "survives_holm": each.survives, "seeds_overlap": each.seeds_overlap, "joints": each.items,
            "sequences": each.sequences,
        }
        for answer in found.answers for each in answer.compared
    ]  # fmt: skip


#: Marks an answer that rests on one training.
_ONE = "¹"


def _in_short(found: StudyAnswers, answer: Answer) -> str:
    anchor = answer.question.name.lower()
    return f"| [{answer.question.ask}](#{anchor}) | {_summary(found, answer)} |"


def _summary(found: StudyAnswers, answer: Answer) -> str:
    if not answer.verdicts:
        return "not run yet"
    by_verdict: dict[str, list[str]] = {}
    for arm, verdict in answer.verdicts.items():
        said = f"**{verdict}**" if answer.firm(arm) else f"{verdict}, but not after Holm"
        by_verdict.setdefault(said, []).append(
            found.study.title_of(arm) + (_ONE if found.by_chance(answer, arm) else "")
        )
    place = place_named(answer.question.headline).title
    where = "" if answer.question.headline == "overall" else f" ({place})"
    if len(answer.verdicts) == 1:
        only = next(iter(answer.verdicts))
        return next(iter(by_verdict)) + (_ONE if found.by_chance(answer, only) else "") + where
    return "; ".join(f"{said} ({' · '.join(names)})" for said, names in by_verdict.items()) + where


def _question(found: StudyAnswers, answer: Answer, figure: str | None) -> list[str]:
    question = answer.question
    blocks = [f'<a id="{question.name.lower()}"></a>\n\n## {question.ask}', f"Answer: {_summary(found, answer)}."]
    if question.note:
        blocks.append(question.note.strip())
    if question.across_boxes:
        blocks.append(
            "The arms were not given the same boxes: differences hold what boxes are worth, and rank nothing."
        )
    if answer.lacking:
        lacking = ", ".join(found.study.title_of(name) for name in answer.lacking)
        blocks.append(f"Not run yet, and left out: {lacking}.")
    if not answer.compared:
        return blocks
    blocks.append("\n".join(_sentence(found, answer, each) for each in answer.headline))
    blocks.append(render(_arm_table(found, answer), "markdown").strip())
    blocks.append(render(_difference_table(found, answer), "markdown").strip())
    return blocks + ([f"![{question.ask}]({figure})"] if figure else [])


def _sentence(found: StudyAnswers, answer: Answer, each: Compared) -> str:
    """One comparison at the headline, in words."""
    title = found.study.title_of
    margin = f", margin {answer.question.margin:g}" if answer.question.margin else ""
    text = (
        f"* {title(each.arm)} against {title(each.baseline)}, {each.place.title}: **{each.verdict}**, "
        f"{_signed(each.apart.difference)} AP {_interval(each.apart.low, each.apart.high, '+.1f')}{margin}, "
        f"p = {_p(each.p_holm)} after Holm"
    )
    remarks = [] if each.survives else ["not significant after Holm's correction"]
    if each.nearer:
        low, high = each.nearer.low, each.nearer.high
        remarks.append(f"PCKh@0.1 {_signed(each.nearer.difference)} {_interval(low, high, '+.1f')}".rstrip())
    remarks += ["the seeds' ranges overlap: chance in training may decide"] if each.seeds_overlap else []
    if answer.cheaper:
        asked = answer.question.cheaper
        own, other = (getattr(found.costs[name], asked) for name in (each.arm, each.baseline))
        remarks.append(_cheaper(asked, own, other))
    return f"{text}; {'; '.join(remarks)}." if remarks else f"{text}."


def _cheaper(name: str, own: float | None, other: float | None) -> str:
    """Whether an arm costs less than one baseline, and the share of its cost.

    >>> _cheaper("multiply_adds", 1.0, 4.0), _cheaper("parameters", None, 4.0)
    ('cheaper: yes (0.25 of the multiply-adds)', 'cheaper: not known')
    """
    if own is None or other is None:
        return "cheaper: not known"
    less = own > other if name == "clips_per_second" else own < other
    return f"cheaper: {'yes' if less else 'no'}" + (f" ({own / other:.2f} of the {_COST_NAMES[name]})" if other else "")


def _arm_table(found: StudyAnswers, answer: Answer) -> Table:
    """AP of every arm at every place with its interval, seeds and cost."""
    names = list(dict.fromkeys(name for each in answer.compared for name in (each.baseline, each.arm)))
    places = [place_named(name) for name in found.study.places_of(answer.question)]
    places = [place for place in places if any(place in found.values[name] for name in names)]
    boxes = (Column("boxes", "boxes"),) if answer.question.across_boxes else ()
    columns = (
        *boxes, Column("seeds", "runs", digits=0), *(Column(place.title, place.title) for place in places),
        Column("spread", "seeds, overall" if places[0].title == "overall" else f"seeds, {places[0].title}"),
        *((Column("median_px", "half within, px"), Column("pckh_01", "PCKh@0.1")) if answer.question.errors else ()),
        *(column for column in _COST_COLUMNS if column.name in found.study.costs),
    )  # fmt: skip
    rows = []
    for name in names:
        values, costs = found.values[name], found.costs[name]
        cells: dict[str, Cell] = {place.title: _bounded(values.get(place)) for place in places}
        cells["boxes"] = ", ".join(dict.fromkeys(ground_of(run.record).boxes_in_words for run in found.runs[name]))
        cells |= {
            error: _bounded(value, ".2f") for error, value in zip(ERRORS, found.errors.get(name, ()), strict=False)
        }
        cells |= {"seeds": len(found.runs[name]), "spread": _spread(values.get(places[0])), **_cost_cells(costs)}
        rows.append(Row(found.study.title_of(name), cells, facts={"arm": name}))
    caption = []
    if answer.question.errors:
        caption.append(
            "half within: pixels of the image within which half of all annotated joints are placed; PCKh@0.1: percent "
            "of them within a tenth of a head. A joint that is not found counts as far off."
        )
    if len({run.record.boxes.source == NO_BOXES for name in names for run in found.runs[name]}) > 1:
        caption.append(
            "Costs are of one person's crop, and of a whole frame with everybody in it where there are no boxes."
        )
    return Table("AP of the arms, percent", columns, (Section("", tuple(rows)),), tuple(caption), first="Arm")


def _difference_table(found: StudyAnswers, answer: Answer) -> Table:
    """Every comparison: both AP, the paired difference with its interval, p after Holm, the answer."""
    columns = (
        Column("place", "where"), Column("ap", "AP"), Column("baseline", "baseline"),
        Column("difference", "difference"),
        Column("p", "p (Holm)"), Column("verdict", "answer"), Column("joints", "joints", digits=0),
    )  # fmt: skip
    title = found.study.title_of
    rows = [
        Row(
            f"{title(each.arm)} against {title(each.baseline)}",
            {
                "place": each.place.title, "ap": each.value.value, "baseline": each.reference.value,
                "difference": f"{_signed(each.apart.difference)} {_interval(each.apart.low, each.apart.high, '+.1f')}",
                "p": _p(each.p_holm), "verdict": each.verdict + ("" if each.survives else " (not after Holm)"),
                "joints": each.items,
            },
        )
        for each in answer.compared
    ]  # fmt: skip
    line, count = -answer.question.margin or 0, len(answer.compared)
    caption = (
        f"yes: the interval lies above {line:g}; no: below it; else not shown. p corrected by Holm over the {count} "
        "answers of this question.",
    )
    return Table("Paired differences, points of AP", columns, (Section("", tuple(rows)),), caption, first="Compared")


def _reading(found: StudyAnswers) -> str:
    study = found.study
    records = [run.record for runs in found.runs.values() for run in runs]
    grounds = "; ".join(dict.fromkeys(str(ground_of(record)) for record in records))
    commits = ", ".join(sorted({short_commit(record.environment.commit) for record in records}))
    machines = "; ".join(sorted({machine_of(record) for record in records}))
    return (
        "An arm is one thing that was run, with one or several seeds; its AP is the mean of its runs. Brackets: 95 % "
        f"interval from {study.replicates} draws of whole sequences (seed {study.seed}); every draw serves all runs, "
        "so that differences are paired. The interval is about which sequences were filmed; chance in training shows "
        "in the spread of the seeds beside it. p: how rarely the draws cross the line that the answer is about, doubled"
        " (where none does, the tail of a normal curve through them), then corrected by Holm.\n\n"
        f"Ground: {grounds}. Device: {machines}. Commit: {commits}."
    )


def _runs(found: StudyAnswers) -> str:
    lines = ["| Arm | Runs |", "|:--|:--|"]
    for name, runs in found.runs.items():
        ids = ", ".join(f"`{run.id}`" + (f" ({run.record.label})" if run.record.label else "") for run in runs)
        title = found.study.title_of(name).replace("|", r"\|")
        lines.append(f"| {title} | {ids} |")
    return "\n".join(lines)


def _cost_cells(costs: Costs) -> dict[str, Cell]:
    return {
        "parameters": costs.parameters, "multiply_adds": costs.multiply_adds, "clips_per_second": costs.clips_per_second
    }  # fmt: skip


def _bounded(value: Bounded | None, form: str = ".1f") -> str:
    if value is None or math.isnan(value.value):
        return "–"
    return f"{value.value:{form}} {_interval(value.low, value.high, form)}".strip()


def _spread(value: Bounded | None) -> str:
    if value is None or len(value.runs) < 2:
        return "one run"
    return f"{min(value.runs):.1f} to {max(value.runs):.1f}"


def _interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) else f"[{low:{form}}, {high:{form}}]"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.1f}"


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.2g}"


def _has_interval(compared: Iterable[Compared]) -> bool:
    return any(not math.isnan(each.apart.low) for each in compared)


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
