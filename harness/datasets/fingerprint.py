"""One hash that says which labels a number was computed on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from harness.datasets.json_files import LARGEST
from harness.files import sha256_of

__all__ = ["fingerprint"]


def fingerprint(files: Iterable[Path], root: Path) -> str:
    """`sha256:...` over the names (relative to `root`) and contents of label files, whatever their order."""
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        digest.update(os.fsencode(name) + f"\0{sha256_of(path, most=LARGEST)}\n".encode())
    return f"sha256:{digest.hexdigest()}"
