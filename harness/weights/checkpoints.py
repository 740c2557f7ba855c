"""Reading checkpoint files: safetensors, or torch files that hold tensors and nothing that runs."""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from harness.errors import WeightsError, listed
from harness.files import open_plain

__all__ = ["read_checkpoint"]

_WRAPPERS = ("state_dict", "best_state_dict", "model")
_FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")
#: What an archive may unpack to: so many times its size, and so many bytes besides.
_MOST_TIMES, _SMALL = 4, 2**26
_NUMBER_TYPES = [type(np.dtype(kind)) for kind in ("f4", "f8", "i8")]


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    """Tensors by name, and the metadata (safetensors only); the kind of file is told by its first bytes.

    Raises WeightsError for an unreadable file, for one that holds code or unpacks to far more than its size, and where
    no state dict is found.
    """
    with open_plain(path) as file:
        start = file.read(9)
    if start[:2] == b"PK":
        _check_unpacked(path)
    if start[8:9] == b"{":
        try:
            with safe_open(path, framework="pt") as archive:
                return {key: archive.get_tensor(key) for key in archive.keys()}, archive.metadata() or {}  # noqa: SIM118
        except (SafetensorError, OSError) as problem:
            raise WeightsError(f"{path}: not a readable safetensors file ({problem}); fetch it again") from None
    return _unwrap(_read_torch(path, pickled=start[:1] == b"\x80" or start[:2] == b"PK"), path), {}


def _check_unpacked(path: Path) -> None:
    """Raise WeightsError for a torch archive that unpacks to far more than its size: torch itself packs nothing."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:  # the last: of a later format
        raise WeightsError(f"{path}: not a readable checkpoint ({problem}); fetch it again") from None
    if unpacked > _MOST_TIMES * size + _SMALL:
        raise WeightsError(
            f"{path}: refused, since its {size:,} bytes unpack to {unpacked:,}, as no weights do; "
            "save its state_dict() by torch, which packs nothing"
        )


def _read_torch(path: Path, *, pickled: bool) -> Any:
    # HRNet's own checkpoints keep the accuracy beside the weights as a numpy number
    make_number = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [(make_number, "numpy.core.multiarray.scalar"), make_number, np.dtype, *_NUMBER_TYPES]
    try:
        with torch.serialization.safe_globals(numbers), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of unusual pickles ends in an error or in nothing
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        named = _FORBIDDEN.search(str(problem))
        code = named[1] if named else _code_in(path) if pickled else None
        if not pickled or code is None:
            raise WeightsError(
                f"{path}: not a readable checkpoint of tensors alone; fetch it again, or save its state_dict() by torch"
            ) from None
        raise WeightsError(
            f"{path}: refused, since it holds code or objects besides tensors ({code}); "
            "load its state_dict() saved alone"
        ) from None
    except Exception as problem:  # damaged archives fail in whatever line of the unpickler they reach
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise WeightsError(f"{path}: not a readable checkpoint ({reason}); fetch it again") from None


def _code_in(path: Path) -> str | None:
    """What a bare pickle would import besides torch's and python's containers, read without running any of it."""
    words: list[str] = []
    with path.open("rb") as file:
        try:
            for step, argument, _ in pickletools.genops(file):
                if isinstance(argument, str):
                    words.append(argument.replace(" ", "."))
                found = {"GLOBAL": words[-1:], "STACK_GLOBAL": words[-2:]}.get(step.name)
                if found and not found[0].startswith(("torch", "collections")):
                    return ".".join(found)
        except ValueError:  # damaged, or no pickle
            return None
    return None


def _unwrap(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in what a training script saved: under one of the usual names, or bare."""
    if isinstance(content, Mapping):
        # `model` may also hold a model's name
        inner = (content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping))
        state = next(inner, content)
        if state and all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()):
            return dict(state)
        strange = [str(key) for key, value in state.items() if not isinstance(value, torch.Tensor)]
        raise WeightsError(
            f"{path}: no state dict found; expected tensors by name, bare or under {', '.join(_WRAPPERS)}, "
            f"but {f'not tensors: {listed(strange)}' if strange else 'it is empty'}"
        )
    raise WeightsError(f"{path}: no state dict found; expected a mapping of tensors, got {type(content).__name__}")
