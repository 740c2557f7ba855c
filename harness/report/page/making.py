"""Records, stored predictions and labels -> one HTML file that stands alone."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable
from collections.abc import Sequence as Series
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import HarnessError
from harness.files import write_atomically
from harness.records import RunRecord
from harness.report.comparable import ground_of, grounds_apart, labels, machine_of
from harness.report.opened import Opened
from harness.report.page.failures import cells_of
from harness.report.page.figures import draw_plots
from harness.report.page.pictures import encode_pictures
from harness.report.page.tables import comparison_table, outcome_tables, report_tables
from harness.report.page.theatre import Theatre, stage
from harness.report.tables import short_commit
from harness.results import StoredRun
from harness.scoring.comparison import compare_matched
from harness.scoring.differences import Difference
from harness.scoring.scores import TOTAL
from harness.version import __version__

__all__ = ["FAILURES", "KEYS", "Content", "make_page", "write_page"]

#: How many failures a page holds at most, unless asked otherwise.
FAILURES = 1000

#: What the page's keys do, as its help lists them.
KEYS = (
    (("j", "k"), "next, previous failure"), (("←", "→"), "a frame back, on"),
    (("Home", "End"), "start, end of the clip"),
    (("w",), "the worst frame"), (("p", "Space"), "play, pause"), (("+", "-"), "faster, slower"),
    (("v",), "side by side, or overlaid"), (("z",), "the person, or the whole frame"), (("1",), "truth on, off"),
    (("2", "3"), "A, B on, off"), (("l",), "to the list (↑ ↓ PgUp PgDn)"), (("f",), "to the filters"),
    (("r",), "reset the filters"), (("/",), "filter a table"), (("d",), "light, dark"), (("?",), "these keys"),
)  # fmt: skip

_SCRIPTS = ("theme", "tables", "poses", "theatre", "page")

Progress = Callable[..., None]


@dataclass(frozen=True)
class Content:
    """What a page is made of: the runs, their poses where labels are at hand, and how much of them to show.

    The first two runs are A and B of the theatre. `why_closed` says why there is none where `opened` is None.
    """

    runs: tuple[StoredRun, ...]
    opened: Opened | None
    why_closed: str = ""
    pixels: bool = True
    failures: int = FAILURES
    title: str = ""
    compared: bool = True


def write_page(content: Content, path: Path, *, progress: Progress | None = None) -> int:
    """Write the page, whole or not at all; its size in bytes. HarnessError where it cannot be written."""
    page = make_page(content, progress=progress).encode("utf-8", "replace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page)
    except OSError as error:
        raise HarnessError(f"{path}: cannot write the page ({error.strerror or error}); choose another -o") from None
    return len(page)


def make_page(content: Content, *, progress: Progress | None = None) -> str:
    """The page as text."""
    records = [run.record for run in content.runs]
    opened = content.opened
    tables = report_tables(records)
    difference = None
    if opened is not None:
        letters = ("A", "B") if len(records) > 1 else ("",)
        if len(records) > 1 and content.compared:
            comparison = compare_matched(*opened.matched[:2])
            tables.insert(1, comparison_table(comparison, opened.names))
            difference = comparison.row()
        tables += outcome_tables(opened, [cells_of(each) for each in opened.matched[:2]], letters)
    early, script = _text("early.js"), _joined_scripts()
    return _environment().get_template("page.html.jinja").render(
        title=content.title or _title(records),
        version=__version__, style=_text("page.css"), early=early, script=script,
        script_sources=" ".join(f"'sha256-{_digest(text)}'" for text in (early, script)),
        grounds="; ".join(dict.fromkeys(str(ground_of(record)) for record in records)),
        verdict=_verdict(difference, labels(records), grounds_apart(records[:2])),
        cards=_cards(records, paired=opened is not None),
        notes=_notes(content), tables=tables, plots=draw_plots(records, opened), provenance=_provenance(content.runs),
        theatre=_theatre(content, progress), keys=KEYS,
    )  # fmt: skip


def _theatre(content: Content, progress: Progress | None) -> dict[str, Any] | None:
    if content.opened is None or content.failures < 1:
        return None
    staged = stage(content.opened, limit=content.failures)
    pictures = encode_pictures(staged.images, progress=progress) if content.pixels else []
    pair = len(staged.data["runs"]) > 1
    lead = (
        "Stretches of a joint that one run finds and the other does not, the largest difference first."
        if pair
        else "Stretches of a joint that the run does not find, the worst first."
    )
    return {
        "pair": pair, "title": "Where A and B differ most" if pair else "Where it fails worst",
        "lead": lead + _absent(staged, pictures, content.pixels), "pictures": pictures,
        "json": _script_json(staged.data),
    }  # fmt: skip


def _absent(staged: Theatre, pictures: Series[str | None], pixels: bool) -> str:
    if not pixels:
        return " This page was made without pictures."
    absent = sum(picture is None for picture in pictures)
    return f" {absent} of {len(staged.images)} pictures were not at hand, or did not fit." if absent else ""


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or starts a comment."""
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _title(records: Series[RunRecord]) -> str:
    titles = [record.method.title for record in records[:2]]
    named = " against ".join(titles if len(set(titles)) == len(titles) else labels(records)[:2])
    return f"{named}, and {len(records) - 2} more" if len(records) > 2 else named


def _verdict(row: Difference | None, names: Series[str], apart: str) -> dict[str, str] | None:
    if row is None:
        return None
    if math.isnan(row.low):
        return {"verdict": row.verdict, "before": f"B, {names[1]}, against A, {names[0]}:", "strong": row.verdict,
                "after": f"({row.reason}). {apart}".rstrip()}  # fmt: skip
    words = {"better": "is better than", "worse": "is worse than"}.get(row.verdict, "is not shown to differ from")
    return {
        "verdict": row.verdict, "before": f"B, {names[1]},", "strong": words,
        "after": f"A, {names[0]}: {row.difference:+.2f} points of mean AP, 95 % interval "
                 f"[{row.low:+.2f}, {row.high:+.2f}], p = {row.p_holm:.2g} after Holm. {apart}".rstrip(),
    }  # fmt: skip


def _cards(records: Series[RunRecord], *, paired: bool) -> list[dict[str, Any]]:
    cards = []
    for place, (name, record) in enumerate(zip(labels(records), records, strict=True)):
        groups = record.table.groups("ap", slice="all", protocol=record.dataset.protocol)
        entry = next(
            iter(record.table.select(metric="ap", slice="all", joint=TOTAL, protocol=record.dataset.protocol).entries),
            None,
        )
        bounded = entry is not None and entry.high > entry.low
        facts = [(group, _percent(groups.get(group))) for group in ("Head", "Wrist", "Ankle")]
        if record.cost.clips_per_second:
            facts.append(("speed", f"{record.cost.clips_per_second:,.3g} clips/s"))
        if record.cost.parameters is not None:
            facts.append(("parameters", f"{record.cost.parameters / 1e6:.2f} M"))
        if record.partial:
            facts.append(("partial", record.partial.reason))
        unit = f"mean AP [{entry.low:.1f}, {entry.high:.1f}]" if entry is not None and bounded else "mean AP"
        cards.append({
            "name": name, "value": _percent(groups.get("Total")), "unit": unit, "facts": facts,
            "mark": "AB"[place] if paired and place < 2 and len(records) > 1 else "",
        })  # fmt: skip
    return cards


def _notes(content: Content) -> list[str]:
    records = [run.record for run in content.runs]
    notes = [content.why_closed] if content.why_closed else []
    if len({ground_of(record) for record in records}) > 1:
        notes.append("These runs do not share boxes, protocol or data: numbers are comparable within a table only.")
    notes += [f"{name}: partial, not comparable ({record.partial.reason})."
              for name, record in zip(labels(records), records, strict=True) if record.partial]  # fmt: skip
    return notes + list(dict.fromkeys(warning for record in records for warning in record.warnings))


def _provenance(runs: Series[StoredRun]) -> list[dict[str, Any]]:
    found = []
    for name, run in zip(labels([run.record for run in runs]), runs, strict=True):
        record = run.record
        facts = [
            ("run", run.id), ("created", record.created), ("command", record.command),
            ("data", f"{record.dataset.name} {record.dataset.split}, {record.dataset.sequences} sequences, "
                     f"{record.dataset.labelled_frames} labelled frames, {record.dataset.people} people"),
            ("labels", record.dataset.fingerprint), ("boxes", record.boxes.source),
            ("weights", f"{record.weights.name}, {record.weights.sha256}" if record.weights else "none"),
            ("device", machine_of(record)), ("commit", short_commit(record.environment.commit)),
            ("predictions", _kept(record)),
        ]  # fmt: skip
        found.append({"name": name, "facts": facts})
    return found


def _kept(record: RunRecord) -> str:
    stored = record.predictions
    if stored is None:
        return "not stored"
    return stored.sha256 if stored.kept else f"{stored.sha256}, not kept"


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"


@cache
def _text(name: str) -> str:
    return (files("harness.report.page") / "templates" / name).read_text(encoding="utf-8")


def _joined_scripts() -> str:
    body = "\n".join(_text(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _digest(script: str) -> str:
    """As a content security policy names a script: sha256 of its text, base64."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("harness.report.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
