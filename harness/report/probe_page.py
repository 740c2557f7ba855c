"""The page of findings: what probes found, in tables and sentences made from records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.records import RunRecord
from harness.report.comparable import ground_of, short
from harness.report.probe_crossing import AS_IT_IS, crossing_rows, crossing_sentence, crossings, in_crossing
from harness.report.probe_rows import Probed, Row, by_subject, probed, rows_of, title_of
from harness.skeletons import GROUPS

__all__ = ["gap_rows", "probe_page"]

_FROZEN = "support_frozen"

_STRIDE = "support_stride"

_BEYOND = (
    "* The larger a stride, the more neighbours lie beyond the ends of a video, where each method's own rule fills in: "
    "the key frame, or the first and the last frame. Compare strides of one method with care, those of two not at all."
)

#: Gathered features this many times as large as the key's are what the notes call over-exposed.
_EXPOSED = 2.0


def probe_page(
    items: Sequence[Probed],
    watched: Sequence[tuple[str, RunRecord]],
    gaps: Sequence[Row],
    *,
    figures: Iterable[str] = (),
) -> str:
    """Markdown with a section per question that was asked of at least one run, and the figures by file name."""
    pictures = list(figures)
    records = [item.record for item in items] + [record for _, record in watched]
    parts = ["# What probes found", "", f"{_ground(records[0])}. Every number is a change against the untouched run of "
             "the same method, in AP points, compared pair by pair of videos; intervals are 95 %, p values are Holm's "
             "within each comparison. Runs with a probe are partial and never ranked; those that differ by flip test, "
             "decoder, crops or precision alone are runs like any other.", "", *_asked(items)]  # fmt: skip
    key = [item for item in items if item.name.startswith("key_")]
    time = [item for item in items if item.name.startswith("support_")]
    settings = [item for item in items if item.name.startswith("boxes_") or "probe" not in item.record.request]
    for title, body in (
        ("Key-frame dependence", _key_frame(key)),
        ("Use of time", _time(time)),
        ("Alignment", _alignment(watched)),
        ("Protocol", _protocol(settings, gaps)),
    ):
        if body:
            name = title.split()[0].lower()
            shown = [f"![{picture}]({picture})" for picture in pictures if picture.startswith(_PICTURES[name])]
            parts += [f"## {title}", "", *body, "", *shown, ""]
    return "\n".join([*parts, "Records: " + ", ".join(f"`{record.id}`" for record in records) + ".", ""])


_PICTURES = {"key-frame": ("dose_", "joints_"), "use": ("time",), "alignment": ("alignment", "features"),
             "protocol": ("protocol", "crossing")}  # fmt: skip


def gap_rows(records: Sequence[RunRecord]) -> list[Row]:
    """The gaps between two methods that records hold, by protocol."""
    items = probed(records)
    cells = {item.record.id: item.title for item in items}
    untouched = {item.against: item.title for item in items}
    plain = {record.id: title_of(record) for record in records}
    found = []
    for record in records:
        for row in rows_of(record):
            if row["what"].startswith("gap") and row["slice"] == "all" and row["name"] == "total":
                protocol = row["what"].removeprefix("gap, ")
                titles = plain | (untouched if protocol == AS_IT_IS else cells)
                other = titles.get(row["against"]) or _method_of(row["against"])
                found.append({**row, "gap": f"{titles[record.id]} - {other}", "protocol": protocol})
    return sorted(found, key=lambda row: (row["gap"], row["protocol"] != AS_IT_IS, row["protocol"]))


def _asked(items: Sequence[Probed]) -> list[str]:
    """A table of the methods as they were run where nothing was changed."""
    rows = []
    for title, mine in by_subject(items).items():
        probes = [item for item in mine if "probe" in item.record.request and ", " not in item.name]
        record, row = (probes or mine)[0].record, mine[0].row()
        used, weights = record.inference, record.weights
        rows.append([
            title, weights.name if weights else "–", used.codec if used and probes else "–",
            "–" if used is None or not probes else "yes" if used.flip_test else "no",
            _number(row["a"]), f"`{mine[0].against}`",
        ])  # fmt: skip
    heads = ["method", "weights", "decoder", "flip test", "AP untouched", "untouched run"]
    return [_table(heads, rows), ""] if rows else []


def _key_frame(items: Sequence[Probed]) -> list[str]:
    if not items:
        return []
    lines = [_table(["method", "probe", "AP", "change", "95 %", "verdict", *GROUPS], [
        [item.title, item.label, *_values(item.row()), *(_signed(item.row(group)["difference"]) for group in GROUPS)]
        for item in items
    ])]  # fmt: skip
    sentences = []
    known = [item for item in items if None not in (item.row()["a"], item.row()["b"])]
    unseeing = by_subject([item for item in known if item.blind])
    blind = {title: min(item.row()["b"] for item in mine) for title, mine in unseeing.items()}
    for title, mine in by_subject([item for item in known if not item.blind]).items():
        worst = min(mine, key=lambda item: item.row()["b"])
        start, left = worst.row()["a"], worst.row()["b"]
        sentences.append(f"* {title} falls from {start:.1f} to {left:.1f} AP at `{worst.label}`.")
    if blind:
        others = ", ".join(f"{name} has {value:.1f}" for name, value in blind.items())
        sentences.append(
            f"* Not shown the key frame at all, {others} AP: what one that has lost it should still reach. "
            + _left_of_it([item for item in known if not item.blind], min(blind.values()))
        )
    return [*lines, "", *sentences, *_not_asked([item for item in items if not item.blind])]


def _left_of_it(items: Sequence[Probed], level: float) -> str:
    """Who still reaches the level of those that see no key frame once nothing is left of it."""
    lost = sorted((item for item in items if item.family == "key_grey" and item.dose == 1), key=lambda item: -_ap(item))
    if not lost:
        return ""
    above = [f"{item.title} ({_ap(item):.1f})" for item in lost if _ap(item) >= level]
    below = [f"{item.title} ({_ap(item):.1f})" for item in lost if _ap(item) < level]
    told = [f"{', '.join(names)} {word}" for names, word in ((above, "do"), (below, "do not")) if names]
    return f"With nothing left of it (`key_grey=1`), {'; '.join(told)}."


def _ap(item: Probed) -> float:
    return float(item.row()["b"])


def _not_asked(items: Sequence[Probed]) -> list[str]:
    """A sentence on the probes that some methods of a table were asked and others were not."""
    families = list(dict.fromkeys(item.family for item in items))
    asked = {title: {item.family for item in mine} for title, mine in by_subject(items).items()}
    open_ = {title: [family for family in families if family not in own] for title, own in asked.items()}
    lacking = [f"{title} ({', '.join(f'`{family}`' for family in left)})" for title, left in open_.items() if left]
    return [f"* Not asked, though others were: {'; '.join(lacking)}."] if lacking else []


def _time(items: Sequence[Probed]) -> list[str]:
    if not items:
        return []
    lines = [_table(["method", "probe", "AP", "change", "95 %", "verdict", *GROUPS], [
        [item.title, item.label, *_values(item.row()), *(_signed(item.row(group)["difference"]) for group in GROUPS)]
        for item in items
    ])]  # fmt: skip
    sentences = []
    for item in items:
        if item.name == _FROZEN:
            row = item.row()
            slices = [
                part
                for part in item.rows(slice="", kind="group")
                if part["name"] == "total" and part["low"] is not None
            ]
            sure = [part for part in slices if part["verdict"] != "not shown" and part["slice"] != "all"]
            where = "; ".join(f"{part['slice']} {_signed(_minus(part['difference']))}" for part in sure)
            gain = _signed(_minus(row["difference"])) + ("" if row["low"] is None else f" {_interval(row, -1)}")
            sentences.append(
                f"* Temporal gain of {item.title}: {gain}, {_verdict(row)}. "
                + (f"By slice: {where}." if where else "No slice shows one.")
            )
    if any(item.name == _STRIDE for item in items):
        sentences.append(_BEYOND)
    return [*lines, "", *sentences, *_not_asked(items)]


def _alignment(watched: Sequence[tuple[str, RunRecord]]) -> list[str]:
    lines = []
    for title, record in watched:
        rows = [row for row in record.findings["rows"] if row["what"] == "alignment"]
        bins = list(dict.fromkeys(row["bin"] for row in rows if row["bin"] != "clips"))
        measures = list(dict.fromkeys(row["measure"] for row in rows if row["bin"] in bins))
        value = {(row["measure"], row["bin"]): row for row in rows}
        body = [[name.replace("_", " "), *(_plain(value.get((name, place))) for place in bins)] for name in measures]
        lines += [
            f"**{title}**, by how far joints moved (cells of the features); \"perfect\" and \"own\" read a neighbour "
            "at its own joint, which alignment that only moves features would reach, and one that changes them may "
            "pass:",
            "",
        ]  # fmt: skip
        lines += [_table(["measure", *bins], body), ""]
        clips = [row for row in rows if row["bin"] == "clips"]
        lines += [
            "Per clip: " + ", ".join(f"{row['measure'].replace('_', ' ')} {_plain(row)}" for row in clips) + ".",
            "",
        ]
        lines += [_judged(title, value), ""]
    return lines


def _judged(title: str, value: dict[tuple[str, str], Row]) -> str:
    """What the numbers say in words: does alignment help, do offsets point the right way, are features over-exposed?"""

    def known(measure: str, name: str = "all") -> float | None:
        row = value.get((measure, name))
        return None if row is None else row["value"]

    sentences = []
    before, after = known("hit_before"), known("hit_after")
    if before is not None and after is not None:
        word = "helps" if after > before + 0.005 else "hurts" if after < before - 0.005 else "changes nothing for"
        sentences.append(
            f"Alignment of {title} {word} reading the key frame's pose from neighbours ({before:.3f} to {after:.3f} of "
            f"all joints{_far(value)})."
        )
    error, zero = known("error"), known("error_zero")
    if error is not None and zero is not None:
        side = "nearer to" if error < zero else "farther from"
        sentences.append(
            f"Its offsets are {side} the true motion than none ({error:.2f} against {zero:.2f} cells off)."
        )
    exposure = known("exposure", "clips")
    if exposure is not None:
        word = "over-exposed" if exposure > _EXPOSED else "not over-exposed"
        sentences.append(f"Gathered features are {exposure:.2f} times as large as the key's: {word}.")
    return " ".join(sentences)


def _far(value: dict[tuple[str, str], Row]) -> str:
    """The same of joints that moved, by how far: most do not, and the mean over all is theirs."""
    told = []
    for name in dict.fromkeys(place for measure, place in value if measure == "hit_before"):
        pair = [value.get((measure, name), {}).get("value") for measure in ("hit_before", "hit_after")]
        if name[0] not in "a<c" and None not in pair:
            told.append(f"{pair[0]:.3f} to {pair[1]:.3f} of those that moved {name} cells")
    return "; " + ", ".join(told) if told else ""


def _method_of(run: str) -> str:
    """Method, preset and key of a run's id, for one that is not at hand.

    >>> _method_of("hrnet-tiny-dsnt-588960bf")
    'hrnet:tiny-dsnt [588960bf]'
    """
    name, _, key = run.rpartition("-")
    return f"{name.replace('-', ':', 1)} [{key}]"


def _protocol(items: Sequence[Probed], gaps: Sequence[Row]) -> list[str]:
    if not items:
        return []
    crossed = crossings(gaps)
    single = [item for item in items if not in_crossing(item.name, crossed, item.title)]
    lines = [_table(["method", "protocol", "AP", "change", "95 %", "verdict"],
                    [[item.title, item.label, *_values(item.row())] for item in single])]  # fmt: skip
    if gaps:
        lines += ["", _table(["gap", "protocol", "points", "95 %"], [
            [row["gap"], row["protocol"], _signed(row["difference"]), _interval(row)] for row in gaps
            if not in_crossing(row["protocol"], crossed, row["gap"])
        ])]  # fmt: skip
        lines.append("")
        for gap in dict.fromkeys(row["gap"] for row in gaps):
            values = [row["difference"] for row in gaps if row["gap"] == gap and row["difference"] is not None]
            if values:
                lines.append(f"* {gap} is {min(values):+.1f} to {max(values):+.1f} points over its protocols.")
        moved = [item for item in items if ", " not in item.name and item.row()["difference"] is not None]
        if moved:
            most = max(moved, key=lambda item: abs(item.row()["difference"]))
            lines.append(
                f"* One factor alone moves a method by up to {abs(most.row()['difference']):.1f} points "
                f"({most.title}, {most.label})."
            )
    for crossing in crossed:
        cells = crossing_rows(crossing)
        table = _table(list(cells[0]), [list(row.values()) for row in cells])
        lines += ["", f"* {crossing_sentence(crossing)}", "", table]
    return lines


def _values(row: Row) -> list[str]:
    return [_number(row["b"]), _signed(row["difference"]), _interval(row), row["verdict"]]


def _interval(row: Row, sign: int = 1) -> str:
    if row["low"] is None or row["high"] is None:
        return "–"
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return f"[{low:+.1f}, {high:+.1f}]"


def _verdict(row: Row) -> str:
    return {"worse": "shown", "better": "shown, and other frames do harm"}.get(row["verdict"], "not shown")


def _plain(row: Row | None) -> str:
    return "–" if row is None or row["value"] is None else f"{row['value']:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _signed(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:+.1f}" if round(value, 1) else "0.0"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _ground(record: RunRecord) -> str:
    ground = ground_of(record)
    return f"{ground.dataset} {ground.split} ({short(ground.fingerprint)}), protocol {ground.protocol}"
