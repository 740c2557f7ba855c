"""Files on disk: plain ones opened without waiting and read within bounds, others written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from harness.errors import HarnessError

__all__ = ["TooLargeError", "open_plain", "read_plain", "written_whole"]

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


@contextmanager
def written_whole(path: Path, *, remedy: str = "choose another -o") -> Iterator[Path]:
    """The name of a new file to write in the block, which then takes the place of `path` in one step.

    Where the block fails there is no such file, and `path` is as it was. Raises HarnessError with the `remedy` where
    the system cannot write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException as problem:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise HarnessError(f"{path}: cannot be written ({problem.strerror or problem}); {remedy}") from None
        raise


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
