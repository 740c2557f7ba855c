"""The weights and inputs both sides of the golden files share: every tensor drawn from a seed made of its own key."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

#: The shared gain of convolution and linear weights; with 1 deep residual networks blow up.
GAIN = 0.7

INPUT_SEED = 20261120


def filled_tensor(key: str, shape: tuple[int, ...], *, gain: float = GAIN) -> torch.Tensor:
    """The value of one state-dict entry: the first matching case, drawn in float64 and cast to float32."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    seed = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "little")
    random = np.random.Generator(np.random.PCG64(seed))
    if key.endswith("running_mean"):
        values = 0.1 * random.standard_normal(shape)
    elif key.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif len(shape) >= 2:
        values = gain * random.standard_normal(shape) * np.sqrt(2 / math.prod(shape[1:]))
    elif len(shape) == 1 and key.endswith("weight"):
        values = random.uniform(0.8, 1.2, shape)
    elif len(shape) == 1 and key.endswith("bias"):
        values = 0.1 * random.standard_normal(shape)
    else:
        values = 0.02 * random.standard_normal(shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def filled_state(module: nn.Module, *, gain: float = GAIN) -> dict[str, torch.Tensor]:
    """The state dict of a module filled by the rule; keys must be those of the bare upstream model."""
    return {key: filled_tensor(key, tuple(value.shape), gain=gain) for key, value in module.state_dict().items()}


def fill(module: nn.Module, *, gain: float = GAIN) -> nn.Module:
    """Fill a module in place and put it in eval mode."""
    module.load_state_dict(filled_state(module, gain=gain))
    return module.eval()


def golden_input(*shape: int) -> torch.Tensor:
    """The shared input batch: standard normal, as if already normalised."""
    random = np.random.Generator(np.random.PCG64(INPUT_SEED))
    return torch.from_numpy(random.standard_normal(shape).astype(np.float32))


def watch(module: nn.Module, names: list[str]) -> dict[str, torch.Tensor]:
    """Fill the returned mapping with the named intermediates at the next forward pass.

    `stage3[1]` is the second output of stage 3; of several outputs the first counts where none is chosen.
    """
    seen: dict[str, torch.Tensor] = {}

    def hook(name: str, place: int):
        def keep(_module, _inputs, output) -> None:
            # a copy: later in-place activations must not change what was seen
            seen[name] = (output[place] if isinstance(output, list) else output).clone()

        return keep

    for name in names:
        path, _, place = name.removesuffix("]").partition("[")
        module.get_submodule(path).register_forward_hook(hook(name, int(place or 0)))
    return seen


def statistics(values: torch.Tensor) -> np.ndarray:
    """[sum, mean, population std, mean abs, min, max] in float64, the order of the golden files."""
    array = values.detach().double().numpy()
    return np.array([array.sum(), array.mean(), array.std(), np.abs(array).mean(), array.min(), array.max()])


def read_json(archive: Any, name: str) -> Any:
    """A JSON entry of a golden npz."""
    return json.loads(str(archive[name]))


def shared(*parts: str) -> Path:
    """A file of the shared folder beside the checkout."""
    return Path(__file__).parents[2].joinpath("shared", *parts)


def model_golden(name: str) -> Any:
    """A golden npz of the single-frame networks: from tests/data, else from the shared folder; skips without it."""
    own = Path(__file__).parent / "data" / "models" / f"{name}.npz"
    path = own if own.is_file() else shared("golden", "models_hrnet_simcc", f"{name}.npz")
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return np.load(path)


def frame_golden(name: str, part: str, *, folder: str = "whole_frame") -> Any:
    """The golden npz of whole frames that holds a part (the start of its entries); skips without it.

    tests/data has some whole files and parts of others, the smallest that tell; the shared folder has all.
    """
    own = Path(__file__).parent / "data" / "whole_frame" / name
    for archive in (np.load(path) for path in (own, shared("golden", folder, name)) if path.is_file()):
        if any(entry.startswith(part) for entry in archive.files):
            return archive
    return pytest.skip(f"{part} of {name} is not here")
