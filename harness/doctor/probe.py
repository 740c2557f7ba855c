"""Imports the compiled packages one after another and says of each, on a line of JSON, how that went.

It runs as a process of its own (`python -m harness.doctor.probe`), since a package built for another numpy may end the
process that imports it: the last line then names the one.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

__all__ = ["PROBED"]

#: Module -> what is to be tried beyond importing it: the part that breaks where builds do not fit each other.
PROBED = ("numpy", "scipy.stats", "pandas", "pyarrow.parquet", "cv2", "xtcocotools._mask", "torch", "torchvision", "av",
          "onnxruntime")  # fmt: skip


def main() -> None:
    """Print `{"module": ..., "begun": true}`, then the outcome, for every module of `PROBED`."""
    for name in PROBED:
        print(json.dumps({"module": name, "begun": True}), flush=True)
        print(json.dumps({"module": name, **_outcome(name)}), flush=True)


def _outcome(name: str) -> dict[str, Any]:
    try:
        module = importlib.import_module(name)
        tried = _TRIALS.get(name, lambda module: {})(module)
    except ModuleNotFoundError as problem:
        absent = problem.name is not None and name.split(".")[0] == problem.name
        return {"absent": True} if absent else {"error": _line(problem)}
    except Exception as problem:  # whatever a mismatched build raises is the finding
        return {"error": _line(problem)}
    return {"version": str(getattr(module, "__version__", "")), **tried}


def _line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0]}" if lines else type(problem).__name__


def _torch(torch: Any) -> dict[str, Any]:
    torch.zeros(1).numpy()  # fails where torch was built for another numpy
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {"threads": torch.get_num_threads(), "cuda_build": torch.version.cuda, "gpus": gpus}


def _torchvision(torchvision: Any) -> dict[str, Any]:
    import_module = importlib.import_module
    torch, ops = import_module("torch"), import_module("torchvision.ops")
    one = torch.ones(1, 1, 1, 1)
    ops.deform_conv2d(one, torch.zeros(1, 2, 1, 1), one)
    return {}


_TRIALS = {"torch": _torch, "torchvision": _torchvision}


if __name__ == "__main__":
    main()
