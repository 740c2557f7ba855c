"""Verify a stored run: are its predictions, scores, weights, data and the record itself what they were?"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, listed
from harness.files import read_plain
from harness.records import RunRecord, digest_of
from harness.results import LARGEST, MAPS_FILE, RECORD_FILE, StoredRun, file_sha256
from harness.scoring.poseval import NAME as POSEVAL
from harness.scoring.scores import Scores
from harness.typed_json import to_plain

__all__ = ["Finding", "Images", "Verification", "verify"]

#: Scores a run again from its stored predictions file.
Rescore = Callable[[RunRecord, Path], Scores]

_KEY = ("protocol", "metric", "slice", "joint")

#: How far AP may be from what a probe found: half of the fourth decimal that it keeps, and the rounding of sums.
_ROUNDED = 5.1e-5


@dataclass(frozen=True)
class Finding:
    """One thing that is not what the record says.

    `check` is record, predictions, weights, data, images, maps (those beside a record of alignment), findings (those of
    a probe, of predictions that were not kept) or scores.
    """

    check: str
    message: str

    def __str__(self) -> str:
        return f"{self.check}: {self.message}"


@dataclass(frozen=True)
class Images:
    """Images as they are now: their fingerprint and, by sequence, the hash of their contents."""

    fingerprint: str
    contents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """What was looked at, what could not be, and what was found; a run is sound when nothing was found.

    It was verified `partly` where its scores cannot be recomputed, since its predictions were not kept.
    """

    run: str
    checked: tuple[str, ...]
    skipped: tuple[str, ...]
    findings: tuple[Finding, ...]
    partly: bool = False

    @property
    def sound(self) -> bool:
        """True when every check that could be made held."""
        return not self.findings


def verify(
    run: StoredRun,
    *,
    rescore: Rescore | None = None,
    weights: Path | None = None,
    fingerprint: str | HarnessError | None = None,
    images: Images | HarnessError | None = None,
    absent: Mapping[str, str] | None = None,
    place: tuple[str, str] | None = None,
) -> Verification:
    """Compare a run with its record: every check whose material is at hand.

    `rescore` recomputes the scores from the predictions file, which must come out equal in every bit; `weights` is the
    weights file, `fingerprint` that of the labels and `images` that of the images as they are now, or the error for
    which they cannot be had though they should be there: that is a finding. What is not given is listed as skipped;
    `absent` says by check why that is. `place` are the data set and the split in whose folder the run lies, None where
    it lies in none.
    """
    record, why = run.record, absent or {}
    checks: dict[str, Iterable[Finding] | str] = {"record": _check_record(run, place)}
    checks["predictions"] = _check_predictions(run)
    checks["weights"] = _check_weights(record, weights)
    checks["data"] = _check_data(record, fingerprint, why.get("data"))
    if record.dataset.images_fingerprint is not None:
        checks["images"] = _check_images(record, images, why.get("images"))
    if "maps_sha256" in record.findings or (run.folder / MAPS_FILE).exists():
        checks["maps"] = _check_maps(run)
    partly = record.predictions is not None and not record.predictions.kept
    if partly:
        checks["findings"] = _check_findings(record)
    checks["scores"] = _check_scores(run, rescore)
    made = {name: list(result) for name, result in checks.items() if not isinstance(result, str)}
    skipped = tuple(f"{name}: {result}" for name, result in checks.items() if isinstance(result, str))
    findings = tuple(finding for found in made.values() for finding in found)
    return Verification(run.id, tuple(made), skipped, findings, partly)


def _check_record(run: StoredRun, place: tuple[str, str] | None) -> Iterable[Finding]:
    path, stored = run.folder / RECORD_FILE, run.document.get("digest")
    if stored != digest_of(run.document):
        yield Finding("record", f"{path} was edited after it was written (its digest is {stored})")
    try:
        twice = _named_twice(read_plain(path, most=LARGEST))
    except (OSError, ValueError, RecursionError) as problem:
        yield Finding("record", f"{path} cannot be read again ({problem})")
    else:
        if twice:
            yield Finding("record", f"{path} names {listed([repr(name) for name in twice])} twice")
    counts = Counter((row.protocol, row.metric, row.slice, row.joint) for row in run.record.scores)
    if several := [" ".join(name) for name, count in counts.items() if count > 1]:
        yield Finding("record", f"{path} holds more than one score of {listed(several)}")
    if run.id != run.record.id:
        yield Finding("record", f"its request gives the id {run.record.id}, the record says {run.id}")
    if (name := run.folder.absolute().name) != run.id:
        yield Finding("record", f"it lies in the folder {name}, the record says {run.id}")
    used = run.record.dataset
    if place is not None and place != (used.name, used.split):
        yield Finding("record", f"{path} lies in {'/'.join(place)}, but is of {used.name} {used.split}")


def _named_twice(content: bytes) -> list[str]:
    """Keys that an object of a JSON text gives twice: readers keep the last, and the digest is of that alone."""
    found: dict[str, None] = {}

    def keys_of(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            found.update((key, None) for key, count in counts.items() if count > 1)

    json.loads(content, object_pairs_hook=keys_of, parse_int=str)
    return list(found)


def _check_predictions(run: StoredRun) -> Iterable[Finding] | str:
    path, stored = run.predictions_path, run.record.predictions
    if stored is None:
        return "the record names no predictions"
    if path is None:
        return f"not kept; `harness probe` with --overwrite always makes them again, as {stored.sha256}"
    return _check_file("predictions", path, stored.sha256)


def _check_weights(record: RunRecord, weights: Path | None) -> Iterable[Finding] | str:
    if record.weights is None:
        return "the method has none"
    if weights is None:
        return f"{record.weights.name} is not at hand"
    return _check_file("weights", weights, record.weights.sha256)


def _check_maps(run: StoredRun) -> Iterable[Finding] | str:
    stored = run.record.findings.get("maps_sha256")
    if stored is None:
        return f"the record has no hash of {MAPS_FILE}"
    return _check_file("maps", run.folder / MAPS_FILE, str(stored))


def _check_file(check: str, path: Path, expected: str) -> list[Finding]:
    if not path.is_file():
        return [Finding(check, f"{path} is missing")]
    try:
        found = file_sha256(path)
    except OSError as problem:
        return [Finding(check, f"{path} cannot be read ({problem.strerror or problem})")]
    if _bare(found) == _bare(expected):
        return []
    return [Finding(check, f"{path} changed: expected {expected}, found {found}")]


def _check_data(record: RunRecord, fingerprint: str | HarnessError | None, why: str | None) -> Iterable[Finding] | str:
    if fingerprint is None:
        return why or f"{record.dataset.name} is not at hand"
    if isinstance(fingerprint, HarnessError):
        return [Finding("data", str(fingerprint))]
    if fingerprint == record.dataset.fingerprint:
        return []
    name = f"{record.dataset.name} {record.dataset.split}"
    return [Finding("data", f"labels of {name} changed: expected {record.dataset.fingerprint}, found {fingerprint}")]


def _check_images(record: RunRecord, images: Images | HarnessError | None, why: str | None) -> Iterable[Finding] | str:
    used = record.dataset
    if images is None:
        return why or f"those of {used.name} are not at hand"
    if isinstance(images, HarnessError):
        return [Finding("images", str(images))]
    changed = [name for name, content in used.images.items() if images.contents.get(name) != content]
    if images.fingerprint == used.images_fingerprint and not changed:
        return []
    what = f"expected {used.images_fingerprint}, found {images.fingerprint}"
    if changed:
        what = f"those of {listed(changed)} ({len(changed)} of {len(used.images)} sequences)"
    return [Finding("images", f"of {used.name} {used.split} changed: {what}")]


def _check_findings(record: RunRecord) -> Iterable[Finding] | str:
    """Whether the scores are those that a probe found, while it had the predictions, and kept in rows of its own."""
    rows = record.findings.get("rows")
    found = {
        str(row.get("name")): row["b"]
        for row in (rows if isinstance(rows, list | tuple) else ())
        if isinstance(row, dict) and (row.get("what"), row.get("slice")) == ("change", "all")
        if isinstance(row.get("b"), int | float)
    }
    if not found:
        return "no probe has left AP of the run beside its scores"
    asked = {"slice": "all", "protocol": POSEVAL}
    scores = record.table.by_joint("ap", **asked) | record.table.groups("ap", **asked)
    apart = [name for name, value in found.items() if not abs(scores.get(name, math.nan) - value) < _ROUNDED]
    if not apart:
        return []
    shown = [f"{name}: scores {scores.get(name, 'nothing')}, findings {found[name]}" for name in apart]
    return [
        Finding("findings", f"AP of {len(apart)} of {len(found)} differs from the scores: {listed(shown, limit=2)}")
    ]


def _check_scores(run: StoredRun, rescore: Rescore | None) -> Iterable[Finding] | str:
    path = run.predictions_path
    if rescore is None or path is None or not path.is_file():
        return "not recomputed" if path is None or path.is_file() else "the predictions are missing"
    try:
        again = rescore(run.record, path)
    except HarnessError as error:
        return [Finding("scores", f"cannot be recomputed: {error}")]
    return _differences(to_plain(run.record.scores), to_plain(again.entries))


def _differences(stored: list[dict[str, Any]], again: list[dict[str, Any]]) -> list[Finding]:
    """One finding for all rows that differ, with the first as an example; stored and new rows are matched by name."""
    before, after = _by_name(stored), _by_name(again)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not changed:
        return []
    shown = [f"{' '.join(name)}: stored {_value(before, name)}, recomputed {_value(after, name)}" for name in changed]
    return [Finding("scores", f"{len(changed)} of {len(before)} differ: {listed(shown, limit=2)}")]


def _by_name(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {tuple(row[column] for column in _KEY): row for row in rows}


def _value(rows: dict[tuple[str, ...], dict[str, Any]], name: tuple[str, ...]) -> str:
    row = rows.get(name)
    if row is None:
        return "nothing"
    return f"{row['value']} (n_truth {row['n_truth']}, n_predicted {row['n_predicted']})"


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")
