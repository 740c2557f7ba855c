"""Shards: files of finished sequences, so that the same request, run again, continues where it was stopped."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import orjson

from harness.datasets.sequences import DataSet
from harness.errors import DataError, HarnessError, UsageError, listed
from harness.files import write_atomically
from harness.inference.ranks import Ranks
from harness.predictions import Predictions, by_sequence, concatenate, read_parquet, write_parquet

__all__ = ["Shards", "in_use", "in_use_by_all", "sequences_together"]


#: Files in one folder, beyond which network disks become slow; and files in all, beyond which sequences share one.
_PER_FOLDER, _MOST_FILES = 1000, 65_536


class Shards:
    """The finished sequences of one request, in a folder (None: nothing is kept).

    The folder remembers the request in `request.json`; UsageError if it belongs to another one. A file holds one
    sequence, or a group of consecutive ones where there are very many: a group is written when it is complete, or at
    the end with what there is of it, so it has to be one process that works on it.
    """

    def __init__(self, folder: Path | None, dataset: DataSet, request: Mapping[str, object]) -> None:
        self.folder = folder
        self.dataset = dataset
        self._held: dict[int, dict[int, Predictions]] = {}
        self._read: tuple[int, dict[int, Predictions]] = (-1, {})
        if folder is not None:
            with _explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _claim(folder / "request.json", request)

    def load(self, number: int) -> Predictions | None:
        """The predictions of a sequence that is done, else None; a damaged shard counts as not done."""
        if self.folder is None:
            return None
        group = number // sequences_together(len(self.dataset))
        if self._read[0] != group or number not in self._read[1]:
            self._read = group, self._group(group)
        return self._read[1].get(number)

    def save(self, number: int, predictions: Predictions) -> None:
        """Keep the predictions of a finished sequence, whole or not at all."""
        if self.folder is None:
            return
        together = sequences_together(len(self.dataset))
        group = number // together
        if group not in self._held:
            self._held[group] = self._group(group) if together > 1 else {}
        held = self._held[group]
        held[number] = predictions
        if len(held) == min(together, len(self.dataset) - group * together):
            self._write(group)

    def flush(self) -> None:
        """Write what there is of groups that are not complete."""
        for group in list(self._held):
            self._write(group)

    def remembered(self, name: str, choose: Callable[[], int]) -> int:
        """A number that was chosen when the request was first run, so that a resumed run does as the first did."""
        if self.folder is None:
            return choose()
        path = self.folder / f"{name}.json"
        if path.is_file():
            with suppress(ValueError):
                return int(path.read_text(encoding="utf-8"))
        value = choose()
        with _explained(self.folder):
            write_atomically(path, str(value).encode(), synced=False)
        return value

    def _write(self, group: int) -> None:
        held = self._held.pop(group)
        parts = [held[number] for number in sorted(held)]
        write_parquet(parts[0] if len(parts) == 1 else concatenate(parts), self._path(group))

    def _group(self, group: int) -> dict[int, Predictions]:
        """What the file of a group holds, by number; nothing where it is not there, damaged or of other sequences."""
        path = self._path(group)
        try:
            found = read_parquet(path) if path.is_file() else None
        except DataError:
            found = None
        if found is None:
            return {}
        together = sequences_together(len(self.dataset))
        numbers = range(group * together, min((group + 1) * together, len(self.dataset)))
        number_of = {self.dataset.sequences[number].name: number for number in numbers}
        if not set(found.sequence_names) <= set(number_of):
            return {}
        return {number_of[name]: part for name, part in zip(found.sequence_names, by_sequence(found), strict=True)}

    def _path(self, group: int) -> Path:
        first = group * sequences_together(len(self.dataset))
        name = re.sub(r"[^\w.-]+", "_", self.dataset.sequences[first].name)
        folder = self.folder or Path()
        if len(self.dataset) > _PER_FOLDER:
            folder /= f"{group // _PER_FOLDER:04d}"
        return folder / f"{first:06d}-{name}.parquet"


def sequences_together(count: int) -> int:
    """How many consecutive sequences of `count` share a file, whatever the number of processes.

    >>> sequences_together(600), sequences_together(1_000_000)
    (1, 16)
    """
    return max(1, -(-count // _MOST_FILES))


def _claim(path: Path, request: Mapping[str, object]) -> None:
    """Write the request, or compare it with the one that is there."""
    wanted = orjson.loads(orjson.dumps(dict(request)))
    if path.is_file():
        try:
            found = dict(orjson.loads(path.read_bytes()))
        except (orjson.JSONDecodeError, TypeError, ValueError):
            raise HarnessError(f"{path}: is damaged: nobody knows whose shards these are; empty the folder") from None
        different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        if different:
            raise UsageError(
                f"{path.parent}: holds shards of another request ({listed(different)} differ); finish that one, "
                "begin anew with --overwrite always, or choose another folder"
            )
        return
    write_atomically(path, orjson.dumps(wanted, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS), synced=False)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say which folder it is that cannot be written, and why."""
    try:
        yield
    except OSError as problem:
        raise HarnessError(
            f"{folder}: finished sequences cannot be kept there ({problem.strerror or problem}); "
            "make room, or choose another --results"
        ) from None


@contextmanager
def in_use(folder: Path | None, *, emptied: bool = False) -> Iterator[None]:
    """Mark a shard folder as being worked in by this process, until the block or the process ends, however that is.

    The last process to leave without an error removes the folder; `emptied` empties it before, which HarnessError
    refuses while another process works there.
    """
    if folder is None:
        yield
        return
    with _explained(folder):
        descriptor = _opened(folder, alone=emptied)
    try:
        if emptied:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


@contextmanager
def in_use_by_all(folder: Path, ranks: Ranks, *, emptied: bool = False) -> Iterator[None]:
    """The same for every rank of a job; the first opens the folder, and empties it where that is wanted."""
    with ExitStack() as stack:
        if ranks.first:
            stack.enter_context(in_use(folder, emptied=emptied))
        ranks.decided("folder", lambda: 1)
        if not ranks.first:
            stack.enter_context(in_use(folder))
        yield


def _opened(folder: Path, *, alone: bool) -> int:
    """A locked descriptor of the folder, made anew as often as another process removes it in between."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError) if not alone else nullcontext():  # some network disks know no locks
                fcntl.flock(descriptor, (fcntl.LOCK_EX | fcntl.LOCK_NB) if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            os.close(descriptor)
            raise HarnessError(
                f"{folder}: another run of the same request is at work there; wait for it or stop it"
            ) from None
        if folder.is_dir() and os.path.samestat(folder.stat(), os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)
