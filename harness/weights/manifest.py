"""The manifests of known weights: name -> file or URL, sha256, licence, what they were trained on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import WeightsError
from harness.files import write_whole
from harness.registry import Registry, load_plugins
from harness.toml_files import read_toml

__all__ = ["WeightsEntry", "find_weights", "publish_entry", "register_manifest", "weights"]

_BARE_KEY = re.compile(r"[\w-]+", re.ASCII)


@dataclass(frozen=True)
class WeightsEntry:
    """One table of a manifest.

    `file` is relative to `folder` (the manifest's); entries with a `url` are looked for in the cache, under the same
    file name, since nothing is downloaded unasked. `record` is the training record beside the file, "" where none.
    """

    name: str
    file: str
    sha256: str
    folder: Path = Path()
    url: str = ""
    licence: str = ""
    trained_on: str = ""
    record: str = ""
    note: str = ""

    @property
    def path(self) -> Path:
        """Where the file is or has to be put."""
        return cache_folder() / self.file if self.url else self.folder / self.file


weights: Registry[WeightsEntry] = Registry("weights", before_lookup=load_plugins)


def register_manifest(path: Path) -> None:
    """Make every entry of a manifest available by name; raises WeightsError for one that says too little."""
    tables = read_toml(path, kind=WeightsError, remedy="restore the manifest")
    for name, table in tables.items():
        try:
            entry = WeightsEntry(name=name, folder=path.parent, **table)
        except TypeError as problem:
            raise WeightsError(f"{path}: entry '{name}' does not fit a manifest: {problem}") from None
        weights.add(name, entry)


def find_weights(source: str | Path) -> tuple[Path, WeightsEntry | None]:
    """The file that a manifest name or a path stands for, and its entry where it has one.

    Raises WeightsError where the file is missing (saying where to get it), UsageError for an unknown name.
    """
    if isinstance(source, Path) or Path(source).suffix or len(Path(source).parts) > 1 or Path(source).is_file():
        path = Path(source)
        if not path.is_file():
            what = "is a folder, not a checkpoint" if path.is_dir() else "no such file"
            raise WeightsError(f"{path}: {what}; give --weights a checkpoint or one of: {', '.join(weights)}")
        return path, None
    entry = weights[source]
    if not entry.path.is_file():
        remedy = f"put the file of {entry.url} there" if entry.url else "reinstall the package"
        raise WeightsError(f"{entry.path}: the file of weights '{source}' is missing; {remedy}")
    return entry.path, entry


def cache_folder() -> Path:
    """Where downloaded weights lie: HARNESS_CACHE, else the user's cache folder."""
    base = os.environ.get("HARNESS_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vidpose-harness" / "weights"


def publish_entry(manifest: Path, entry: WeightsEntry) -> None:
    """Add or replace one entry of a manifest file, entries sorted by name; written atomically."""
    tables: dict[str, Mapping[str, str]] = {}
    if manifest.is_file():
        tables.update(read_toml(manifest, kind=WeightsError, remedy="restore the manifest"))
    fields = asdict(entry)
    tables[entry.name] = {key: value for key, value in fields.items() if key not in ("name", "folder") and value}
    blocks = []
    for name in sorted(tables):
        title = name if _BARE_KEY.fullmatch(name) else json.dumps(name)
        # a JSON string is a valid basic string of TOML
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in tables[name].items()]
        blocks.append("\n".join([f"[{title}]", *lines]) + "\n")
    write_text(manifest, "\n".join(blocks))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; HarnessError where it cannot be written."""
    write_whole(path, text.encode())
