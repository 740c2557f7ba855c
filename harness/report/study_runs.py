"""From a study's selectors to runs, and from runs to the draws that its answers are made of."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arrays import read_arrays
from harness.datasets import DataSet
from harness.errors import CheckError, DataError, UsageError, listed
from harness.files import write_atomically
from harness.predictions import read_parquet
from harness.records import RunRecord
from harness.reopen import reopen, same_sequences
from harness.report.comparable import ground_of
from harness.report.studies import Arm, Question, Selector, Study
from harness.results import StoredRun
from harness.scoring.arms import Drawn, draw
from harness.scoring.localisation import draw_errors
from harness.scoring.matched import Matched, match_run
from harness.scoring.scores import TOTAL
from harness.scoring.uncertainty import COLUMNS
from harness.typed_json import to_plain

__all__ = ["DrawStore", "chosen", "fits"]

#: Part of the name of every stored draw: raise it when the way they are made changes.
_VERSION = 1


def fits(selector: Selector, record: RunRecord) -> bool:
    """Whether a run is one that the selector means."""
    weights = record.weights
    named = (
        (selector.method, (record.method.name,)),
        (selector.preset, (record.method.preset,)),
        (selector.label, (record.label,)),
        (selector.codec, (record.inference.codec,) if record.inference else ()),
        (selector.precision, (record.inference.precision,) if record.inference else ()),
        (selector.run, (record.id,)),
    )
    if any(wanted is not None and not _like(wanted, found) for wanted, found in named):
        return False
    if selector.weights is not None:
        digest = weights.sha256.removeprefix("sha256:") if weights else ""
        own = weights.name if weights else ""
        if not (_like(selector.weights, (own,)) or (digest and digest.startswith(selector.weights))):
            return False
    asked = to_plain(record.request)
    if selector.codec is not None:
        asked.pop("codec", None)  # asked for by its own word
    whole = record.partial is None or record.partial.reason == f"probe: {selector.request.get('probe')}"
    return whole and asked == to_plain(selector.request)


def chosen(study: Study, runs: Sequence[StoredRun], *, missing_ok: bool = False) -> dict[str, list[StoredRun]]:
    """The runs of every arm that a question names, by arm.

    Raises UsageError naming all arms without runs (or, with `missing_ok`, leaves them out), DataError where an arm's
    number of runs is not its `seeds`, or where runs cannot be compared.
    """
    own = [run for run in runs if (run.record.dataset.name, run.record.dataset.split) == (study.dataset, study.split)]
    named = dict.fromkeys(arm for question in study.questions for arm in question.named)
    found = {name: _of_arm(study.arms[name], own) for name in named}
    if (lacking := [name for name, each in found.items() if not each]) and not missing_ok:
        example = study.arms[lacking[0]].runs[0]
        words = {key: value for key, value in to_plain(example).items() if value}
        raise UsageError(
            f"no run on {study.dataset} {study.split} for arm {listed(lacking, limit=8)} (as in {words}); "
            "run them, or leave out what is missing with --missing-ok"
        )
    for name, each in found.items():
        seeds = study.arms[name].seeds
        if each and seeds is not None and len(each) != seeds and not (missing_ok and len(each) < seeds):
            ids = listed([run.id for run in each], limit=4)
            raise DataError(f"arm '{name}' should have {seeds} runs, its selectors find {len(each)}: {ids}")
    _check_labels([run for each in found.values() for run in each])
    for question in study.questions:
        if not question.across_boxes:
            _check_boxes(question, [run for name in question.named for run in found[name]])
    return {name: each for name, each in found.items() if each}


class DrawStore:
    """Draws of runs, computed once and kept in `folder`: the same study again reads no predictions."""

    def __init__(self, folder: Path | None = None, *, data_root: Path | None = None) -> None:
        self.folder = folder or _folder()
        self.data_root = data_root
        self._datasets: dict[tuple[str, str, str], DataSet] = {}

    def get(self, run: StoredRun, labels: Iterable[str], *, replicates: int, seed: int) -> Mapping[str, Drawn]:
        """The draws of one run by bin; a bin is absent where the labels lack what it needs."""
        paths = {label: self._path(run, label, replicates, seed) for label in labels}
        stored = {label: _stored(path) for label, path in paths.items()}
        lacking = [label for label, arrays in stored.items() if arrays is None]
        if lacking:
            made = self._drawn(run, lacking, replicates=replicates, seed=seed)
            self.folder.mkdir(parents=True, exist_ok=True)
            for label in lacking:
                _write(paths[label], made.get(label))
                stored[label] = _stored(paths[label])
        read = {label: _unpacked(arrays) for label, arrays in stored.items() if arrays is not None}
        known = {label: drawn for label, drawn in read.items() if drawn is not None}
        for label, drawn in known.items():
            _check_record(run, label, drawn)
        return known

    def errors(self, run: StoredRun, *, replicates: int, seed: int) -> Drawn:
        """How near the joints of one run lie, over the same draws."""
        path = self._path(run, "errors", replicates, seed)
        arrays = _stored(path)
        found = _unpacked(arrays) if arrays is not None else None
        if found is None:
            found = draw_errors(self._matched(run), replicates=replicates, seed=seed)
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, found)
        return found

    def _path(self, run: StoredRun, label: str, replicates: int, seed: int) -> Path:
        record = run.record
        predictions = record.predictions.sha256 if record.predictions else ""
        key = [_VERSION, predictions, record.dataset.fingerprint, _compat(record), label, replicates, seed]
        return self.folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.npz"

    def _drawn(self, run: StoredRun, labels: Iterable[str], *, replicates: int, seed: int) -> dict[str, Drawn]:
        return draw(self._matched(run), labels, replicates=replicates, seed=seed)

    def _matched(self, run: StoredRun) -> Matched:
        path = run.stored_predictions()
        predictions = read_parquet(path)
        dataset = same_sequences(self._dataset(run.record), predictions, path)
        return match_run(dataset, predictions, compat=_compat(run.record))

    def _dataset(self, record: RunRecord) -> DataSet:
        key = (record.dataset.name, record.dataset.split, record.dataset.fingerprint)
        if key not in self._datasets:
            dataset = reopen(record, self.data_root)
            if dataset is None:
                raise DataError(f"data set {key[0]} is not at hand; give --data-root DIR")
            if dataset.fingerprint != key[2]:
                raise DataError(f"{dataset.root}: its labels are not those of the runs ({dataset.fingerprint})")
            self._datasets[key] = dataset
        return self._datasets[key]


def _of_arm(arm: Arm, runs: Sequence[StoredRun]) -> list[StoredRun]:
    return [run for run in runs if any(fits(selector, run.record) for selector in arm.runs)]


def _check_labels(runs: Sequence[StoredRun]) -> None:
    """Probes may differ, since a selector must ask for them; data, labels and protocol may not."""
    grounds: dict[tuple[str, str], str] = {}
    for run in runs:
        ground = ground_of(run.record)
        grounds.setdefault((ground.fingerprint, ground.protocol), run.id)
    if len(grounds) > 1:
        raise DataError(f"runs that cannot be compared (labels or protocol differ): {listed(list(grounds.values()))}")


def _check_boxes(question: Question, runs: Sequence[StoredRun]) -> None:
    grounds = [ground_of(run.record) for run in runs]
    found = {(ground.boxes, ground.boxes_sha256): f"{run.id} ({ground.boxes_in_words})"
             for run, ground in zip(runs, grounds, strict=True)}  # fmt: skip
    if len(found) > 1:
        raise DataError(
            f"question '{question.name}': runs that cannot be compared (boxes differ): {listed(list(found.values()))}; "
            "across_boxes = true would allow it"
        )


def _check_record(run: StoredRun, label: str, drawn: Drawn) -> None:
    stored = run.record.table.select(protocol="poseval", metric="ap", slice=label, joint=TOTAL).entries
    value = float(drawn.value[COLUMNS.index(TOTAL)])
    if stored and not (abs(stored[0].value - value) < 1e-3 or (stored[0].value != stored[0].value and value != value)):
        raise CheckError(
            f"{run.id}: AP of '{label}' is {value:.3f} from its predictions and {stored[0].value:.3f} in its record; "
            "`harness verify` says more"
        )


def _like(pattern: str, values: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for value in values)


def _compat(record: RunRecord) -> str:
    return str(record.scoring.get("compat", "official"))


def _folder() -> Path:
    base = os.environ.get("HARNESS_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vidpose-harness" / "draws"


def _write(path: Path, drawn: Drawn | None) -> None:
    content = io.BytesIO()
    if drawn is None:
        np.savez(content, lacking=np.array(True))
    else:
        np.savez(
            content, value=drawn.value, draws=drawn.draws.astype(np.float32), items=drawn.items,
            sequences=np.array(drawn.sequences),
        )  # fmt: skip
    write_atomically(path, content.getvalue())


def _stored(path: Path) -> dict[str, NDArray[Any]] | None:
    """What `_write` wrote; None where nothing is, or a file that is damaged: it is drawn again."""
    try:
        arrays = read_arrays(path)
    except DataError:
        return None
    ranks = {"value": 1, "draws": 2, "items": 1, "sequences": 0}
    whole = "lacking" in arrays or {name: values.ndim for name, values in arrays.items()} == ranks
    return arrays if whole else None


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> Drawn | None:
    """The draws; None where the labels lack what they need."""
    if "lacking" in arrays:
        return None
    return Drawn(arrays["value"], arrays["draws"], arrays["items"], int(arrays["sequences"]))
