"""What probes left in records, as tidy rows that plots and pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import DataError
from harness.records import RunRecord
from harness.report.comparable import short

__all__ = ["Probed", "Row", "alignments", "by_subject", "probed", "protocols", "rows_of", "title_of"]

Row = dict[str, Any]

_TEXT, _NUMBER, _COUNT = "a text", "a number or null", "a whole number"

#: What a row about each kind of thing holds besides "what"; rows of other kinds are let through.
_CHANGE = {
    **dict.fromkeys(("against", "kind", "slice", "name", "verdict"), _TEXT),
    **dict.fromkeys(("a", "b", "difference", "low", "high", "p_holm"), _NUMBER), "n_truth": _COUNT,
}  # fmt: skip
_ALIGNMENT = {**dict.fromkeys(("measure", "bin"), _TEXT), **dict.fromkeys(("value", "low", "high"), _NUMBER)}


def rows_of(record: RunRecord) -> list[Row]:
    """What a probe left in a record, none where nothing did; DataError names the run, the row and the field."""
    rows = record.findings.get("rows", [])
    if not isinstance(rows, list | tuple):
        raise DataError(f"run {record.id}: findings.rows: expected a list, found {_short(rows)}")
    for number, row in enumerate(rows):
        if wrong := _wrong(row):
            raise DataError(f"run {record.id}: findings.rows[{number}]{wrong}")
    return list(rows)


def _wrong(row: Any) -> str:
    """What is wrong with a row, "" for nothing."""
    if not isinstance(row, dict):
        return f": expected an object, found {_short(row)}"
    what = row.get("what")
    if not isinstance(what, str):
        return f".what: expected a text, found {_short(what)}"
    fields = _CHANGE if what == "change" or what.startswith("gap") else _ALIGNMENT if what == "alignment" else {}
    for name, kind in fields.items():
        if name not in row:
            return f".{name}: missing; expected {kind}"
        if not _is(row[name], kind):
            return f".{name}: expected {kind}, found {_short(row[name])}"
    if fields and (row["low"] is None) != (row["high"] is None):
        return ".low, .high: expected both or neither"
    return ""


def _is(value: Any, kind: str) -> bool:
    if kind == _TEXT:
        return isinstance(value, str)
    if value is None:
        return kind == _NUMBER
    return isinstance(value, int if kind == _COUNT else int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return repr(value)[:60]


@dataclass(frozen=True)
class Probed:
    """A run that was compared with an untouched one: `name` and `part` of the probe (or the setting), dose and seed."""

    record: RunRecord
    title: str
    name: str
    part: str
    dose: float
    seed: int = 0

    @property
    def against(self) -> str:
        """The id of the untouched run."""
        return str(self.row()["against"])

    @property
    def blind(self) -> bool:
        """Whether the method is shown no key frame."""
        return self.record.inference is None or 0 not in self.record.inference.support

    @property
    def family(self) -> str:
        """The probe without its dose; another seed than the first is another family."""
        return self._seeded(f"{self.name}@{self.part}" if self.part else self.name)

    @property
    def label(self) -> str:
        """The probe as one asks for it, or the setting."""
        name = f"{self.name}@{self.part}" if self.part else self.name
        return self._seeded(f"{name}={self.dose:g}" if self.dose else name)

    def _seeded(self, text: str) -> str:
        return f"{text} seed {self.seed}" if self.seed else text

    def rows(self, *, slice: str = "all", kind: str | None = None) -> list[Row]:
        """What changed against the untouched run, in one slice or ("") in all of them."""
        return [
            row for row in self.record.findings["rows"]  # as rows_of has checked them
            if row["what"] == "change" and slice in ("", row["slice"]) and kind in (None, row["kind"])
        ]  # fmt: skip

    def row(self, name: str = "total", *, slice: str = "all") -> Row:
        """The row of one joint, group or "total"; DataError where the record has none."""
        found = self.find(name, slice=slice)
        if found is None:
            raise DataError(f"run {self.record.id}: findings.rows: no row '{name}' of slice '{slice}'")
        return found

    def find(self, name: str, *, slice: str = "all") -> Row | None:
        """The row of one joint, group or "total"; None where the record has none."""
        return next((row for row in self.rows(slice=slice) if row["name"] == name), None)


def title_of(record: RunRecord) -> str:
    """Method and preset; its label, outputs and weights where they say more."""
    outputs = record.request.get("outputs")
    name = f"{record.method.name}:{record.method.preset}" + (f", {outputs}" if outputs else "")
    label = " ".join(str(getattr(record, "label", "")).split())
    return f"{name}, {label}" if label else name


def probed(records: Iterable[RunRecord]) -> list[Probed]:
    """The compared runs among records, by method, probe and dose; of one method those of other settings apart."""
    found = []
    chosen = [record for record in records if _changes(record)]
    titles = _titles(chosen)
    for record in chosen:
        text, seed = _told(record)
        found.append(Probed(record, titles[_subject(record)], *_parsed(text), seed))
    return sorted(found, key=lambda item: (item.title, item.family, item.dose))


def _told(record: RunRecord) -> tuple[str, int]:
    """The probe of a run without its seed, and that; or the setting, and 0."""
    probe, _, seed = str(record.request.get("probe", "")).partition(" seed ")
    cell = str(record.findings.get("cell") or probe)
    number = seed.partition(" ")[0]
    return (probe, int(number) if number.isdecimal() else 0) if cell.partition(" seed ")[0] == probe else (cell, 0)


def _parsed(text: str) -> tuple[str, str, float]:
    """Name, part and dose of a probe; a text that is none is a name.

    >>> _parsed("key_cutout@wrist=0.1"), _parsed("boxes_jitter=0.05, flip")
    (('key_cutout', 'wrist', 0.1), ('boxes_jitter=0.05, flip', '', 0.0))
    """
    found = re.fullmatch(r"([a-z_0-9]+)(?:@([a-z_]+))?(?:=([0-9.e+-]+))?", text)
    try:
        return (found[1], found[2] or "", float(found[3] or 0)) if found else (text, "", 0.0)
    except ValueError:  # "1-2" is no number
        return text, "", 0.0


def protocols(items: Sequence[Probed]) -> list[Probed]:
    """Runs that differ from the untouched one by boxes or settings, not by what is shown."""
    return [item for item in items if item.name.startswith("boxes_") or "probe" not in item.record.request]


def alignments(records: Iterable[RunRecord]) -> list[tuple[str, RunRecord]]:
    """The runs whose alignment was watched, with their titles."""
    chosen = [record for record in records if any(row["what"] == "alignment" for row in rows_of(record))]
    titles = _titles(chosen)
    return [(titles[_subject(record)], record) for record in chosen]


def by_subject(items: Sequence[Probed]) -> dict[str, list[Probed]]:
    """Runs gathered by title."""
    gathered: dict[str, list[Probed]] = {}
    for item in items:
        gathered.setdefault(item.title, []).append(item)
    return gathered


def _changes(record: RunRecord) -> bool:
    return any(row["what"] == "change" for row in rows_of(record))


#: Title, hash of the weights and untouched run (itself where there is none): runs of one subject are comparable.
Subject = tuple[str, str, str]


def _subject(record: RunRecord) -> Subject:
    against = next((row["against"] for row in rows_of(record) if row["what"] == "change"), record.id)
    return title_of(record), record.weights.sha256 if record.weights else "", against


def _titles(records: Sequence[RunRecord]) -> dict[Subject, str]:
    """Subject -> its title, told apart where a method was probed with several weights, or under several settings.

    Weights are told by their names if those do, settings by the key of the untouched run.
    """
    named = {_subject(record): record.weights.name if record.weights else "" for record in records}
    digests: dict[str, set[str]] = {}
    for title, digest, _ in named:
        digests.setdefault(title, set()).add(digest)
    told: dict[tuple[str, str], set[str]] = {}
    for (title, digest, _), name in named.items():
        told.setdefault((title, name), set()).add(digest)
    found = {}
    for (title, digest, against), name in named.items():
        shown = name.removesuffix(".safetensors") if len(told[title, name]) == 1 else f"#{short(digest)}"
        found[title, digest, against] = title if len(digests[title]) == 1 else f"{title} ({shown})"
    several = list(found.values())
    return {
        subject: title if several.count(title) == 1 else f"{title} [{subject[2].rpartition('-')[2]}]"
        for subject, title in found.items()
    }
