"""Checkpoints from one set of names to another: an official file to ours, ours to what the original programs load."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn

from harness.errors import UsageError
from harness.files import written_whole
from harness.weights.loading import LoadedWeights, key_sources, load, save
from harness.weights.sources import KeyMap

__all__ = ["OURS", "convert"]

#: The target that is no other source: safetensors under our names.
OURS = "ours"


def convert(module: nn.Module, source: str | Path, out: Path, *, to: str = OURS) -> LoadedWeights:
    """Load a checkpoint strictly into `module` and write it under the names of `to`, atomically; what was loaded.

    `to` is "ours" (safetensors) or the beginning of a source's name, such as "mmpose 1.x" or "DCPose release" (a torch
    file in the form that the original programs read). Raises UsageError for a source that the network does not have
    or a folder in the place of the file, WeightsError for a checkpoint that does not fit.
    """
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; name a file in it")
    target = None if to == OURS else _source_named(to, key_sources(module))
    loaded = load(module, source)
    if target is None:
        save(module, out, about={"converted_from": loaded.path.name, "sha256": loaded.sha256})
        return loaded
    theirs = {target.theirs(key): value.cpu().contiguous() for key, value in module.state_dict().items()}
    theirs = target.pack(theirs) if target.pack else theirs
    content = io.BytesIO()  # torch says nothing of a disk that is full but where in its own code it noticed
    torch.save({target.wrapper: theirs} if target.wrapper else theirs, content)
    with written_whole(out) as new:
        new.write_bytes(content.getbuffer())
    return loaded


def _source_named(name: str, sources: tuple[KeyMap, ...]) -> KeyMap:
    fitting = [source for source in sources if source.source.lower().startswith(name.lower())]
    if not fitting:
        known = ", ".join([OURS, *(f"'{source.source}'" for source in sources)])
        raise UsageError(f"this network has no names of '{name}' to convert to; it has {known}")
    return fitting[0]
