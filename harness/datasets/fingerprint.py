"""One hash that says which labels a number was computed on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from harness.datasets.json_files import LARGEST
from harness.files import open_plain

__all__ = ["file_sha256", "fingerprint"]


def file_sha256(path: Path, *, most: int | None = None) -> str:
    """The sha256 of a file's bytes, as hex digits; OSError for what is no plain file or has more than `most` bytes."""
    with open_plain(path, most=most) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(files: Iterable[Path], root: Path) -> str:
    """`sha256:...` over the names (relative to `root`) and contents of label files, whatever their order."""
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        digest.update(os.fsencode(name) + f"\0{file_sha256(path, most=LARGEST)}\n".encode())
    return f"sha256:{digest.hexdigest()}"
