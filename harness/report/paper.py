"""Published tables beside what was measured here: quoted means recomputed, differences, and why they may differ."""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from harness.errors import UsageError
from harness.records import RunRecord
from harness.report.comparable import ground_of, labels
from harness.report.tables import Cell, Column, Row, Section, Table, footnotes
from harness.skeletons import GROUPS

__all__ = ["PaperRow", "mean_of_joints", "paper_names", "paper_table", "published_rows"]

_CODES = {"posetrack17": "pt17", "posetrack18": "pt18", "posetrack21": "pt21", "challengingposetrack": "challenging",
          "subjhmdb": "jhmdb"}  # fmt: skip

_TIERS = {
    "A": "Published: the authors' own", "B": "Published: quoted by others",
    "C": "Reading notes and aggregators: check before citing", "D": "Unreviewed report: not a published result",
}  # fmt: skip

#: Printed means farther from the mean over 15 joints than rounding explains.
_ROUNDING = 0.15

#: Methods whose boxes other papers contest.
_CONTESTED = ("Poseidon",)


@dataclass(frozen=True)
class PaperRow:
    """A row as published; `values` percent AP by group and "Mean", those that were printed; `tier` "A" to "D"."""

    dataset: str
    split: str
    method: str
    backbone: str
    frames: str
    values: dict[str, float]
    parameters: float
    multiply_adds: float
    source: str

    @property
    def tier(self) -> str:
        """How strong the source is."""
        return self.source.partition("tier=")[2][:1] or "D"

    @property
    def title(self) -> str:
        """The method's name without what stands in brackets."""
        return re.sub(r"\s*\(.*?\)", "", self.method).strip()

    @property
    def table(self) -> str:
        """The name of the table of its benchmark."""
        code = _CODES.get(_plain(self.dataset), _plain(self.dataset))
        if self.is_ap:
            return f"{code}-{self.split}" if self.split in ("train", "val", "test") else code
        return f"{code}-{_words(self.split.rpartition(', ')[2])}"

    @property
    def is_ap(self) -> bool:
        """Whether its numbers are poseval's AP, rather than shares of correct joints."""
        return "PCK" not in self.split

    @property
    def comparable(self) -> bool:
        """Whether it may be ranked: with boxes of a detector as far as is known, from a published source."""
        return self.tier in "AB" and "GT boxes" not in self.method and self.title not in _CONTESTED


@cache
def published_rows() -> tuple[PaperRow, ...]:
    """The rows that ship with the harness, in the order of their file."""
    text = resources.files("harness.report").joinpath("published/results.csv").read_text(encoding="utf-8")
    return tuple(_row(line) for line in csv.DictReader(text.splitlines()))


def mean_of_joints(values: dict[str, float]) -> float:
    """poseval's mean over 15 joints from the seven columns: Head counts three joints, all others two; NaN if one lacks.

    >>> round(mean_of_joints(dict(zip(GROUPS, (89.6, 90.1, 86.3, 80.0, 84.6, 83.4, 77.0)))), 2)
    84.77
    """
    if any(name not in values for name in GROUPS):
        return math.nan
    return sum(len(joints) * values[name] for name, joints in GROUPS.items()) / sum(map(len, GROUPS.values()))


def paper_names() -> dict[str, str]:
    """Name -> title of every table the published rows support: one a benchmark, one a method with a known backbone."""
    found: dict[str, str] = {}
    for row in published_rows():
        found.setdefault(row.table, f"{row.dataset} {row.split}")
    peers = Counter((row.table, row.backbone) for row in published_rows() if row.backbone)
    for row in published_rows():
        if peers[row.table, row.backbone] > 1 and row.tier != "D":
            found.setdefault(
                f"{_slug(row)}-{row.table}", f"{row.title} and others on its backbone, {row.dataset} {row.split}"
            )
    return found


def paper_table(name: str, records: Sequence[RunRecord] = ()) -> Table:
    """A published table by its name in `paper_names`, with the whole runs among `records` on the same benchmark.

    Raises UsageError with the nearest names for an unknown one.
    """
    rows = _rows_of(name)
    measured = [
        record
        for record in records
        if f"{_CODES.get(_plain(record.dataset.name))}-{record.dataset.split}" == rows[0].table and not record.partial
    ]
    sections = [
        Section(_TIERS[tier], tuple(_published(row) for row in rows if row.tier == tier))
        for tier in _TIERS
        if any(row.tier == tier for row in rows)
    ]
    if measured:
        own = [_measured(label, record, rows) for label, record in zip(labels(measured), measured, strict=True)]
        sections.append(Section("Measured here", tuple(own)))
    columns = (
        Column("backbone", "backbone"), Column("frames", "frames"), *(Column(name, name, "high") for name in GROUPS),
        Column("Mean", "Mean", "high"), Column("recomputed", "of 15", digits=1),
        Column("difference", "Δ", signed=True), Column("parameters", "M params", digits=1),
        Column("multiply_adds", "GFLOPs", digits=1),
    )  # fmt: skip
    used = tuple(column for column in columns if any(row.cells.get(column.name) not in (None, "")
                                                     for section in sections for row in section.rows))  # fmt: skip
    title = f"{paper_names()[name]}: published" + (" and measured" if measured else "")
    return Table(title, used, tuple(sections), (*_caption(rows), *_reasons(measured, rows)))


def _rows_of(name: str) -> list[PaperRow]:
    if name not in paper_names():
        near = difflib.get_close_matches(name, paper_names(), n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise UsageError(f"no published table '{name}'; {hint}`harness table --paper list` names all")
    whole = [row for row in published_rows() if row.table == name]
    if whole:
        return whole
    own = [row for row in published_rows() if f"{_slug(row)}-{row.table}" == name]
    backbones = {row.backbone for row in own if row.backbone and row.tier != "D"}
    return [row for row in published_rows() if row.table == own[0].table and (row.backbone in backbones or row in own)]


def _published(row: PaperRow) -> Row:
    again = mean_of_joints(row.values) if row.is_ap else math.nan
    printed = row.values.get("Mean", math.nan)
    odd = " ‡" if abs(again - printed) > _ROUNDING else ""
    cells: dict[str, Cell] = {
        "backbone": row.backbone, "frames": row.frames, **row.values, "recomputed": _known(again),
        "parameters": _known(row.parameters), "multiply_adds": _known(row.multiply_adds),
    }  # fmt: skip
    columns = frozenset() if row.comparable else frozenset({*GROUPS, "Mean"})
    facts: dict[str, Cell] = {"tier": row.tier, "source": row.source, "run": None}
    return Row(row.method + odd, cells, unranked=columns, facts=facts)


def _measured(label: str, record: RunRecord, rows: Sequence[PaperRow]) -> Row:
    groups = record.table.groups("ap", protocol=record.dataset.protocol)
    values = {"Mean" if name == "Total" else name: value for name, value in groups.items()}
    row = _counterpart(record, rows)
    quoted = row.values.get("Mean", math.nan) if row else math.nan
    settings = record.inference
    cells: dict[str, Cell] = {
        "backbone": record.method.preset, "frames": str(len(settings.support)) if settings else "", **values,
        "recomputed": _known(mean_of_joints(values)), "difference": _known(values.get("Mean", math.nan) - quoted),
        "parameters": record.cost.parameters and record.cost.parameters / 1e6,
        "multiply_adds": record.cost.multiply_adds and record.cost.multiply_adds / 1e9,
    }  # fmt: skip
    facts: dict[str, Cell] = {"tier": "measured", "source": str(ground_of(record)), "run": record.id}
    return Row(label, cells, unranked=frozenset({*GROUPS, "Mean"}), facts=facts)


def _counterpart(record: RunRecord, rows: Sequence[PaperRow]) -> PaperRow | None:
    """The published row of a measured method: the strongest source, boxes of the same kind first."""
    same = [row for row in rows if row.title == record.method.title and "Mean" in row.values]
    truth = record.boxes.source == "truth"
    return min(same, key=lambda row: (row.tier, ("GT boxes" in row.method) != truth), default=None)


def _caption(rows: Sequence[PaperRow]) -> list[str]:
    if not rows[0].is_ap:
        return ["Percent of correct joints as printed; no evaluation of it is part of this harness."]
    odd = [row for row in rows if abs(mean_of_joints(row.values) - row.values.get("Mean", math.nan)) > _ROUNDING]
    told = [
        "Percent AP as printed; of 15: the mean over 15 joints that poseval takes, recomputed from the seven columns.",
        "Best and second are marked within a group of sources; truth boxes and contested rows are left out of it.",
    ]
    if odd:
        told.append("‡ the printed mean is not that of 15 joints: averaged otherwise, or misprinted.")
    if any(row.title in _CONTESTED for row in rows):
        told.append("Poseidon's boxes are contested: other papers count it among the results on truth boxes.")
    if any("frozen" in row.backbone and row.parameters == row.parameters for row in rows):
        told.append(
            "Parameters of a frozen backbone are not counted by its paper: not to be ranked against the others."
        )
    return told


def _reasons(measured: Sequence[RunRecord], rows: Sequence[PaperRow]) -> list[str]:
    """Why measured and published rows differ: what the records say, then what is known of the field."""
    if not measured:
        return ["Measured: no run on this benchmark is stored; `harness eval --dataset ... --data-root DIR` makes one."]
    told = ["Δ: measured mean minus the printed one of the same method. Known reasons for a difference:"]
    for label, record in zip(labels(measured), measured, strict=True):
        row = _counterpart(record, rows)
        told.append(f"{label}: {'; '.join(_settings(record, row))}.")
    told += [
        "Boxes weigh most: with the same weights 5 to 7 points lie between detected boxes and those of the truth.",
        "Label versions: PoseTrack17 and 18 label files differ, and PoseTrack21 relabels the videos of 18.",
        "Rescoring moves AP without moving a joint; a re-implementation is within 0.5 at best.",
    ]
    return [*told, *footnotes(measured, speeds=False)]


def _settings(record: RunRecord, row: PaperRow | None) -> list[str]:
    settings, weights = record.inference, record.weights
    told = [f"boxes {record.boxes.source}", f"labels {record.dataset.fingerprint.removeprefix('sha256:')[:8]}"]
    if settings:
        told += [f"flip test {'on' if settings.flip_test else 'off'}", f"decoder {settings.codec}"]
    told.append(f"weights {weights.name}" if weights else "no weights")
    return [*told, "no published row of this method" if row is None else f"against '{row.method}', tier {row.tier}"]


def _row(line: dict[str, str]) -> PaperRow:
    keys = {name: name.lower() for name in (*GROUPS, "Mean")}
    values = {name: float(line[key]) for name, key in keys.items() if line[key]}
    return PaperRow(
        line["dataset"], line["split"], line["method"], line["backbone"], line["frames"], values,
        float(line["params_m"] or "nan"), float(line["gflops"] or "nan"), line["source"],
    )  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _slug(row: PaperRow) -> str:
    """The name a method's tables start with.

    >>> _slug(PaperRow("PoseTrack17", "val", "FAMI-Pose (2 frames)", "", "", {}, 0, 0, ""))
    'fami'
    """
    words = _words(row.title)
    return words.removesuffix("-pose") or words


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _known(value: float) -> Cell:
    return None if math.isnan(value) else value
