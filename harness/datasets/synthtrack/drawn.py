"""The pictures as they were drawn: a list of their hashes beside them, and which of them have changed since."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson

from harness.datasets.synthtrack.presets import CARD_FILE
from harness.errors import DataError
from harness.files import sha256_of

__all__ = ["LIST_FILE", "changed_images", "list_images"]

#: Beside the card, as `sha256sum --check` reads it; the hash of this list itself stands in the card.
LIST_FILE = "images.sha256"


def list_images(root: Path) -> str:
    """Write the list of all pictures below a root, just drawn; the sha256 of the list, for the card."""
    paths = sorted((root / "images").rglob("*.jpg"))
    lines = [f"{sha256_of(path)}  {path.relative_to(root).as_posix()}\n" for path in paths]
    content = "".join(lines).encode()
    (root / LIST_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def changed_images(root: Path) -> frozenset[str] | None:
    """Names of the pictures that are gone or other than when they were drawn, None where no hashes were kept then.

    Raises DataError for a list that is gone or other than when it was written.
    """
    expected = _digest_of_list(root / CARD_FILE)
    if expected is None:
        return None
    path = root / LIST_FILE
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}); {_remedy(root)}") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(f"{path}: changed since the pictures were drawn; {_remedy(root)}")
    listed = (line.split("  ", 1) for line in content.decode().splitlines())
    return frozenset(name for digest, name in listed if _digest(root / name) != digest)


def _digest_of_list(card: Path) -> str | None:
    try:
        stated = orjson.loads(card.read_bytes()).get("images_sha256")
    except (OSError, AttributeError, orjson.JSONDecodeError):  # not drawn by this generator
        return None
    return None if stated is None else str(stated)


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _remedy(root: Path) -> str:
    return f"remove {root}, and they are drawn anew"
