"""Files on disk: plain ones opened without waiting and read within bounds, others written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson

from harness.errors import HarnessError

__all__ = [
    "TooLargeError",
    "open_plain",
    "read_plain",
    "sha256_of",
    "write_atomically",
    "write_json",
    "write_whole",
    "written_whole",
]

#: What is asked for beyond the size that the system states, which for some files is 0: to see that nothing follows.
_BEYOND = 2**12


class TooLargeError(OSError):
    """A file of more bytes than its reader takes."""


def open_plain(path: Path | str, *, most: int | None = None) -> BufferedReader:
    """A file open for reading; OSError for a pipe, a device or a folder, none of which is waited for or read.

    TooLargeError for a file of more than `most` bytes.
    """
    stream = os.fdopen(_descriptor(path), "rb")
    if most is not None and os.fstat(stream.fileno()).st_size > most:
        stream.close()
        raise _too_large(path, most)
    return stream


def read_plain(path: Path | str, *, most: int) -> bytes:
    """The bytes of a file; OSError for what `open_plain` refuses, TooLargeError for more than `most` bytes.

    No more than that is read whatever size the system states.
    """
    descriptor = _descriptor(path)
    try:
        size = os.fstat(descriptor).st_size
        parts, left = [], most + 1
        wanted = size + _BEYOND
        while size <= most and left > 0 and (part := os.read(descriptor, min(wanted, left))):
            parts.append(part)
            left -= len(part)
            wanted = max(wanted - len(part), 2**20)
    finally:
        os.close(descriptor)
    if size > most or left <= 0:
        raise _too_large(path, most)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def sha256_of(path: Path | str, *, most: int | None = None) -> str:
    """The sha256 of a file's bytes, as hexadecimal digits; OSError as `open_plain` raises it."""
    with open_plain(path, most=most) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes, *, synced: bool = True) -> None:
    """Write a file so that a reader sees the old or the new content, never a part; OSError where that fails.

    Not `synced`, it is written faster, and may be empty after the machine has lost its power.
    """
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes, *, remedy: str = "choose another -o") -> None:
    """Write a file as `write_atomically` does, unsynced, and make its folder; HarnessError with the `remedy`."""
    with _told(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, synced=False)


def write_json(document: Any, path: Path) -> Path:
    """Write a JSON file whole or not at all, making its folder; HarnessError where it cannot be written."""
    write_whole(path, orjson.dumps(document), remedy="choose another folder")
    return path


@contextmanager
def written_whole(path: Path, *, remedy: str = "choose another -o") -> Iterator[Path]:
    """The name of a new file to write in the block, which then takes the place of `path` in one step.

    Where the block fails there is no such file, and `path` is as it was. Raises HarnessError with the `remedy` where
    the system cannot write.
    """
    temporary = _beside(path)
    with _told(path, remedy):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _told(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise HarnessError(f"{path}: cannot be written ({problem.strerror or problem}); {remedy}") from None


def _beside(path: Path) -> Path:
    """A new name in the folder of a file, hidden, and with the file's own in it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _too_large(path: Path | str, most: int) -> TooLargeError:
    return TooLargeError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))


def _descriptor(path: Path | str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that nobody writes to would hold us up
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
