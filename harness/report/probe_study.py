"""From probed runs to a folder with figures and the page of findings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas
from matplotlib.figure import Figure

from harness.errors import DataError, HarnessError, listed
from harness.files import write_atomically
from harness.records import RunRecord
from harness.report import probe_plots
from harness.report.probe_crossing import crossings, in_crossing
from harness.report.probe_grid import crossing_grid
from harness.report.probe_maps import read_maps
from harness.report.probe_page import gap_rows, probe_page
from harness.report.probe_rows import alignments, by_subject, probed, protocols, rows_of, title_of
from harness.report.style import save
from harness.results import MAPS_FILE, StoredRun

__all__ = ["by_data", "render_probes"]


def by_data(runs: Sequence[StoredRun]) -> dict[tuple[str, str, str], list[StoredRun]]:
    """The runs that probes left something in, by data set, split and fingerprint; DataError for rows that are none."""
    gathered: dict[tuple[str, str, str], list[StoredRun]] = {}
    for run in runs:
        if rows_of(run.record):
            data = run.record.dataset
            gathered.setdefault((data.name, data.split, data.fingerprint), []).append(run)
    return gathered


def render_probes(runs: Sequence[StoredRun], folder: Path) -> list[Path]:
    """Write the figures (SVG and PNG), findings.csv with every row, and findings.md; the files, the page last.

    Raises DataError where no run says what a probe changed, and for damaged features of an alignment probe.
    """
    records = [run.record for run in runs]
    items, watched = probed(records), alignments(records)
    if not items and not watched:
        ids = listed([run.id for run in runs])
        raise DataError(f"run {ids}: findings.rows: none says what a probe changed, or how joints were aligned")
    paths = [save(figure, folder / name)[1] for name, figure in _figures(runs)]
    page = probe_page(items, watched, gap_rows(records), figures=[path.name for path in paths])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "findings.md", page.encode())
        write_atomically(folder / "findings.csv", _rows(records).encode())
    except OSError as error:
        raise HarnessError(f"{folder}: cannot write the page ({error.strerror or error})") from None
    return [*paths, folder / "findings.csv", folder / "findings.md"]


def _rows(records: Sequence[RunRecord]) -> str:
    """Everything that was found, a line per row, with the run it is of."""
    found = [
        {
            "run": record.id,
            "method": title_of(record),
            "probe": record.findings.get("cell", record.request.get("probe")),
            **row,
        }
        for record in records
        for row in rows_of(record)
    ]
    return pandas.DataFrame(found).to_csv(index=False, lineterminator="\n")


def _figures(runs: Sequence[StoredRun]) -> Iterator[tuple[str, Figure]]:
    """Figures with a name for each; names that are the same but for signs no file should have are numbered."""
    seen: Counter[str] = Counter()
    for name, figure in _drawn(runs):
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}_{seen[name]}"), figure


def _drawn(runs: Sequence[StoredRun]) -> Iterator[tuple[str, Figure]]:
    records = [run.record for run in runs]
    items = probed(records)
    key = [item for item in items if item.name.startswith("key_")]
    if any(not item.blind for item in key):
        yield "dose_response", probe_plots.dose_response(key)
        for title, mine in by_subject([item for item in key if not item.blind]).items():
            yield f"joints_{_file(title)}", probe_plots.joint_response(mine)
    time = [item for item in items if item.name.startswith("support_")]
    if time:
        yield "time", probe_plots.gains(time)
    watched = alignments(records)
    if watched:
        yield "alignment", probe_plots.alignment_by_displacement(watched)
    folders = {run.record.id: run.folder for run in runs}
    for title, record in watched:
        if (maps := folders[record.id] / MAPS_FILE).is_file():
            yield f"features_{_file(title)}", probe_plots.feature_maps(title, read_maps(maps))
    settings = protocols(items)
    if settings:
        gaps = gap_rows(records)
        crossed = crossings(gaps)
        single = [item for item in settings if not in_crossing(item.name, crossed, item.title)]
        alone = [row for row in gaps if not in_crossing(row["protocol"], crossed, row["gap"])]
        if single:
            yield "protocol", probe_plots.confounds(single, alone)
        for crossing in crossed:
            name = "_".join((crossing.title, *crossing.levels))
            yield f"crossing_{_file(name)}", crossing_grid(crossing, ground=probe_plots.ground_line(settings))


def _file(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")[:100]
