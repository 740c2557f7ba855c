"""The results store: DIR/<dataset>/<split>/<run id>/record.json with the predictions beside it."""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import CheckError, DataError, HarnessError, UsageError, listed
from harness.files import read_plain, sha256_of, write_atomically
from harness.records import PredictionsFile, RunRecord, digest_of, dump_record, parse_record

__all__ = ["LARGEST", "MAPS_FILE", "RECORD_FILE", "Problem", "Results", "StoredRun", "file_sha256", "read_run"]

RECORD_FILE = "record.json"

#: Features of a few clips for pictures, beside the record of an alignment probe; their hash is in its findings.
MAPS_FILE = "alignment.npz"

#: Bytes of a record, some hundred times those of one with many slices.
LARGEST = 2**26

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")


@dataclass(frozen=True)
class StoredRun:
    """A record with the folder it was read from and its JSON document as it stands in the file."""

    record: RunRecord
    folder: Path
    document: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the run: the stored one, which `verify` compares with the one its request gives."""
        return str(self.document.get("id", self.record.id))

    @property
    def predictions_path(self) -> Path | None:
        """Path of the stored predictions; None where the record names none, or none were kept."""
        stored = self.record.predictions
        return self.folder / stored.file if stored is not None and stored.kept else None

    def stored_predictions(self) -> Path:
        """Path of the stored predictions; DataError where they are not there."""
        path, named = self.predictions_path, self.record.predictions
        if path is not None and path.is_file():
            return path
        if named is None or named.kept:
            raise DataError(f"{self.folder}: the stored predictions are missing; run `harness eval` again")
        raise DataError(
            f"{self.folder}: its predictions were not kept, only their hash; "
            "`harness probe` with --overwrite always makes them again"
        )


@dataclass(frozen=True)
class Problem:
    """A file that looks like a record and cannot be used, with the reason."""

    folder: Path
    message: str


@dataclass(frozen=True)
class Results:
    """The runs below one folder; `root` need not exist before the first run is saved."""

    root: Path

    def folder(self, dataset: str, split: str, run: str) -> Path:
        """Where a run of that id belongs; UsageError for a name that cannot be a folder."""
        for part in (dataset, split, run):
            if not _NAME.fullmatch(part):
                raise UsageError(f"'{part}' cannot name a results folder; use letters, digits and . _ + @ -")
        return self.root / dataset / split / run

    def existing(self, dataset: str, split: str, run: str) -> StoredRun | None:
        """The stored run of that id, None where there is none yet; DataError for one that cannot be read."""
        folder = self.folder(dataset, split, run)
        return read_run(folder) if (folder / RECORD_FILE).is_file() else None

    def save(self, record: RunRecord, *, predictions: Path | None = None) -> StoredRun:
        """Store a record and a copy of its predictions file; a run with the same request is replaced.

        The predictions are stored under their hash and the record is written last, so that a reader, a second writer
        or a kill at any moment never leaves a record beside predictions of another run.
        """
        folder = self.folder(record.dataset.name, record.dataset.split, record.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder):
                if predictions is not None:
                    record = replace(record, predictions=_store_predictions(record, predictions, folder))
                write_atomically(folder / RECORD_FILE, dump_record(record).encode())
                _remove_others(folder, record.predictions)
        except OSError as error:
            raise HarnessError(
                f"{folder}: cannot store the run ({error.strerror or error}); choose another --results"
            ) from None
        return read_run(folder)

    def relabel(self, run: StoredRun, label: str) -> StoredRun:
        """The run under another label, rewritten where it lies; CheckError for a record that was edited."""
        return self.amend(run, lambda record: replace(record, label=label))

    def drop_predictions(self, run: StoredRun) -> StoredRun:
        """The run without its predictions: its record keeps their hash. CheckError for a record that was edited."""

        def dropped(record: RunRecord) -> RunRecord:
            named = record.predictions
            return record if named is None else replace(record, predictions=replace(named, kept=False))

        return self.amend(run, dropped)

    def amend(
        self, run: StoredRun, change: Callable[[RunRecord], RunRecord], *, maps: bytes | None = None
    ) -> StoredRun:
        """The run with its record changed, rewritten where it lies, and with new `maps` beside it where given.

        `change` is given the record as it is now, with the folder locked. Raises CheckError for a record that was
        edited, which a new digest would vouch for.
        """
        try:
            with _locked(run.folder):
                now = read_run(run.folder)
                if now.document.get("digest") != digest_of(now.document):
                    raise CheckError(
                        f"{run.folder / RECORD_FILE} was edited after it was written, and gets no new digest; "
                        "run it again with --overwrite always"
                    )
                changed = change(now.record)
                if maps is not None:
                    write_atomically(run.folder / MAPS_FILE, maps)
                if changed != now.record:
                    write_atomically(run.folder / RECORD_FILE, dump_record(changed).encode())
                if changed.predictions is not None and not changed.predictions.kept:
                    _remove_others(run.folder, changed.predictions)
        except OSError as error:
            raise HarnessError(f"{run.folder}: cannot store the run ({error.strerror or error})") from None
        return read_run(run.folder)

    def scan(self) -> tuple[list[StoredRun], list[Problem]]:
        """All readable runs, sorted by data set, split and id, and the records that could not be read."""
        runs, problems = [], []
        for path in sorted(self.root.glob(f"*/*/*/{RECORD_FILE}")):
            try:
                runs.append(read_run(path.parent))
            except DataError as error:
                problems.append(Problem(path.parent, str(error)))
        return runs, problems

    def recordless(self) -> list[Problem]:
        """The folders that hold predictions or maps of a run and no record of it."""
        files = (path for name in ("predictions-*", MAPS_FILE) for path in self.root.glob(f"*/*/*/{name}"))
        bare = sorted({path.parent for path in files if _lacks_record(path.parent)})
        message = (
            "{} is missing, though files of its run are there: it was removed, or the run was killed while it was "
            "stored; give the command again, or remove the folder"
        )
        return [Problem(folder, message.format(folder / RECORD_FILE)) for folder in bare]

    def place_of(self, run: StoredRun) -> tuple[str, str] | None:
        """Data set and split by the folders that a run lies in; None where that is no place for runs of this store."""
        paths = (self.root, run.folder)
        root, folder = (Path(os.path.abspath(path)) for path in paths)  # noqa: PTH100  (links are not followed)
        parts = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
        return (parts[0], parts[1]) if len(parts) == 3 else None

    def find(self, query: str) -> list[StoredRun]:
        """Runs that a user's word names: a path, an id or the start of one, a key, or a method's name.

        Raises UsageError (with the nearest name) when nothing matches, DataError when what matches cannot be read.
        """
        if (named := _named_path(query)) is not None:
            return [read_run(named)]
        runs, problems = self.scan()
        for matches in (_is_id, _is_method, _is_start):
            broken = [problem for problem in problems if matches(query, problem.folder, None)]
            found = [run for run in runs if matches(query, run.folder, run.record)]
            if broken and not found:
                raise DataError(broken[0].message)
            if found:
                return found if matches is _is_id else _as_they_are(found)
        raise UsageError(self._unknown(query, runs))

    def one(self, query: str) -> StoredRun:
        """The single run a word names; UsageError lists the candidates of an ambiguous one."""
        found = self.find(query)
        if len(found) > 1:
            raise UsageError(
                f"'{query}' names {len(found)} runs; say which: {listed([run.id for run in found], limit=6)}"
            )
        return found[0]

    def _unknown(self, query: str, runs: list[StoredRun]) -> str:
        if not runs:
            return f"unknown run '{query}': {self.root} holds no runs; `harness eval` makes one"
        names = sorted({run.id for run in runs} | {run.record.method.name for run in runs})
        near = difflib.get_close_matches(query, names, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        return f"unknown run '{query}'{hint} {self.root} holds {listed([run.id for run in runs], limit=6)}"


def read_run(path: Path) -> StoredRun:
    """Read one run from its folder or its record file; DataError names the file and what is wrong with it."""
    file = path / RECORD_FILE if path.is_dir() else path
    try:
        content = read_plain(file, most=LARGEST)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{file}: cannot be read ({reason}); remove it, or put the record of a run there") from None
    record, document = parse_record(content, source=str(file))
    if record.predictions is not None and Path(record.predictions.file).name != record.predictions.file:
        raise DataError(f"{file}: predictions.file: expected a file name beside the record, found a path")
    return StoredRun(record, file.parent, document)


def file_sha256(path: Path) -> str:
    """`sha256:...` of a file's bytes; OSError for what is no plain file."""
    return f"sha256:{sha256_of(path)}"


def _store_predictions(record: RunRecord, source: Path, folder: Path) -> PredictionsFile:
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    name = f"predictions-{digest[:8]}{source.suffix}"
    write_atomically(folder / name, content)
    rows = record.predictions.rows if record.predictions is not None else record.boxes.count
    return PredictionsFile(file=name, sha256=f"sha256:{digest}", rows=rows)


def _lacks_record(folder: Path) -> bool:
    """Whether there is no record, and nobody who is about to write it."""
    if (folder / RECORD_FILE).exists():
        return False
    with _locked(folder):
        return not (folder / RECORD_FILE).exists()


def _remove_others(folder: Path, kept: PredictionsFile | None) -> None:
    for path in folder.glob("predictions-*"):
        if kept is None or not kept.kept or path.name != kept.file:
            path.unlink(missing_ok=True)
    for path in (*folder.glob(f".{RECORD_FILE}.*"), *folder.glob(".predictions-*")):
        path.unlink(missing_ok=True)  # left by a writer that was killed: the folder is locked, so none is at work


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _named_path(query: str) -> Path | None:
    path = Path(query)
    if path.name == RECORD_FILE and path.is_file():
        return path.parent
    return path if (path / RECORD_FILE).is_file() else None


def _as_they_are(runs: list[StoredRun]) -> list[StoredRun]:
    """The runs that nobody probed, where there are any: a word means those."""
    return [run for run in runs if "probe" not in run.record.request] or runs


def _is_id(query: str, folder: Path, record: RunRecord | None) -> bool:
    return query == folder.name or query == folder.name.rpartition("-")[2]


def _is_method(query: str, folder: Path, record: RunRecord | None) -> bool:
    return record is not None and record.method.name == query


def _is_start(query: str, folder: Path, record: RunRecord | None) -> bool:
    key = folder.name.rpartition("-")[2]
    return bool(query) and (folder.name.startswith(query) or (len(query) >= 3 and key.startswith(query)))
