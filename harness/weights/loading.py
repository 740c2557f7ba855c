"""Strict loading: the hash first, then tensors only, then every key in its place and shape (hrnet spec 1.8)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from harness.errors import WeightsError, listed
from harness.files import sha256_of, written_whole
from harness.weights.checkpoints import read_checkpoint
from harness.weights.manifest import WeightsEntry, find_weights, publish_entry, write_text
from harness.weights.sources import DEFAULT_SOURCES, KeyMap, recognise, strip_wrapper

__all__ = ["LoadedWeights", "key_sources", "load", "parameter_count", "publish", "save"]

State = Mapping[str, torch.Tensor]

_OWN = "vidpose-harness"
#: What the system says within an error of the library that writes.
_SYSTEM_SAYS = re.compile(r'message: "([^"]+)"|I/?O error: (.+?) \(os error')
_COCO_NOTE = "trained on COCO: its channels 1 and 2 are the eyes, read as head_bottom and head_top"


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded: manifest name ("" for a file given by path), file, hash, recognised source, a note or "".

    `codec` is what the weights learned to be read by, where they say that it is not their preset's, and `activation`
    what their outputs then are; "" where they do not say.
    """

    name: str
    path: Path
    sha256: str
    source: str
    note: str = ""
    codec: str = ""
    activation: str = ""


def load(module: nn.Module, source: str | Path, *, sha256: str | None = None) -> LoadedWeights:
    """Load a checkpoint into a network, every tensor of it and of the network accounted for.

    `source` is a name of the manifest or a path (safetensors, or a torch file holding tensors only); `sha256` is what
    the file has to hash to, by default what the manifest says. A module may list its own `key_sources` (KeyMap).
    Raises WeightsError for a missing or altered file, code in a pickle, and missing, extra or wrongly shaped keys.
    """
    path, entry = find_weights(source)
    digest = _check_hash(path, sha256 or (entry.sha256 if entry else None))
    state, metadata = read_checkpoint(path)
    state = {strip_wrapper(key): value for key, value in state.items()}
    key_map = recognise(state, key_sources(module), known=module.state_dict())
    _fill(module, *_renamed(state, key_map, path), path, key_map)
    recognised = _OWN if _OWN in metadata else key_map.source
    said = _about(metadata)
    return LoadedWeights(
        entry.name if entry else "", path, digest, recognised, _note(path, entry), said["codec"], said["activation"]
    )


def key_sources(module: nn.Module) -> tuple[KeyMap, ...]:
    """Where checkpoints of a network may come from: what it says itself, or the usual ones."""
    sources: tuple[KeyMap, ...] = getattr(module, "key_sources", DEFAULT_SOURCES)
    return sources


def save(state: nn.Module | State, path: Path, *, about: Mapping[str, Any] | None = None, half: bool = False) -> str:
    """Write a network or state dict as safetensors, atomically, and return its sha256.

    `about` is stored in the file as JSON; `half` stores floating-point tensors as float16 at half the size. Raises
    HarnessError where the file cannot be written.
    """
    tensors = state.state_dict() if isinstance(state, nn.Module) else dict(state)
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    if half:
        plain = {key: value.half() if value.is_floating_point() else value for key, value in plain.items()}
    # one metadata entry: with several, their order in the file (and so the hash) would vary
    metadata = {_OWN: json.dumps(dict(about or {}), sort_keys=True)}
    with written_whole(path) as new:
        try:
            save_file(plain, new, metadata=metadata)
        except SafetensorError as problem:
            said = _SYSTEM_SAYS.search(str(problem))
            raise OSError((said[1] or said[2]) if said else str(problem)) from None
        new.chmod(0o644)  # the library makes files that only their owner can read
        return sha256_of(new)


def publish(
    state: nn.Module | State,
    name: str,
    *,
    manifest: Path,
    licence: str,
    trained_on: str,
    record: Mapping[str, Any],
    half: bool = False,
    note: str = "",
) -> WeightsEntry:
    """Put weights beside a manifest and into it: `name`.safetensors, the training record `name`.json, and the entry."""
    file, record_file = f"{name}.safetensors", f"{name}.json"
    digest = save(state, manifest.parent / file, about={"name": name, "trained_on": trained_on}, half=half)
    write_text(manifest.parent / record_file, json.dumps(record, indent=2) + "\n")
    entry = WeightsEntry(
        name, file, digest, manifest.parent, licence=licence, trained_on=trained_on, record=record_file, note=note
    )
    publish_entry(manifest, entry)
    return entry


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers in a network.

    >>> parameter_count(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _check_hash(path: Path, expected: str | None) -> str:
    digest = sha256_of(path)
    if expected is not None and digest != expected.lower():
        raise WeightsError(
            f"{path}: its sha256 is {digest[:12]}..., expected {expected[:12]}...; "
            "the file was altered or is not the one meant: fetch it again"
        )
    return digest


def _renamed(state: State, key_map: KeyMap, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors under our names, and what each of those is called in the file."""
    state = key_map.unpack(state) if key_map.unpack else state
    called = {key_map.ours(key): key for key in state}
    if len(called) < len(state):
        raise WeightsError(f"{path}: two keys of the {key_map.source} checkpoint mean the same tensor; it is damaged")
    return {ours: state[theirs] for ours, theirs in called.items()}, called


def _fill(
    module: nn.Module, state: dict[str, torch.Tensor], called: Mapping[str, str], path: Path, key_map: KeyMap
) -> None:
    """Copy a state dict into the module; only `num_batches_tracked` may be missing (torch before 0.4.1 had none)."""
    expected = module.state_dict()
    problems = {
        "missing": [
            _both_names(key_map.theirs(k), k)
            for k in expected
            if k not in state and not k.endswith("num_batches_tracked")
        ],
        "not known to the network": [called[k] for k in state if k not in expected],
        "of another shape": [
            f"{called[k]} {tuple(state[k].shape)}, expected {tuple(expected[k].shape)}"
            for k in expected
            if k in state and state[k].shape != expected[k].shape
        ],
    }
    found = [f"{len(keys)} {what}: {listed(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise WeightsError(
            f"{path}: the checkpoint does not fit {type(module).__name__}. Of its keys {'; '.join(found)}; "
            "it may belong to another --method or --preset"
        )
    module.load_state_dict({**expected, **state}, strict=True)


def _both_names(theirs: str, ours: str) -> str:
    return ours if theirs == ours else f"{theirs} (here {ours})"


def _about(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a file says of its codec; nothing where that is no text, or anything else is wrong with it."""
    try:
        said = json.loads(metadata.get(_OWN, "{}"))
    except ValueError:
        said = None
    found = said if isinstance(said, dict) else {}
    return {key: value if isinstance(value := found.get(key), str) else "" for key in ("codec", "activation")}


def _note(path: Path, entry: WeightsEntry | None) -> str:
    trained_on = entry.trained_on if entry else path.stem
    notes = [entry.note if entry else "", _COCO_NOTE if _coco_only(trained_on.lower()) else ""]
    return "; ".join(note for note in notes if note)


def _coco_only(trained_on: str) -> bool:
    return "coco" in trained_on and "posetrack" not in trained_on
