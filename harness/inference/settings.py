"""How a run is run, and what of it is asked of each method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.inference.intervening import Intervention
from harness.inference.loaded import Loaded

if TYPE_CHECKING:
    from harness.boxes import Boxes

__all__ = ["USUAL", "Asked", "Settings"]


@dataclass(frozen=True)
class Settings:
    """How a run is run. What is marked * changes rounding and nothing else.

    `batch_size`* None is automatic; `crop_path` "reference" or "device"; `fold`* normalisation into convolutions;
    `compiler`* "none", "default" (torch.compile) or "graphs" (with CUDA graphs);
    `deterministic`* repeats itself bit for bit; `workers` threads (None: as the device needs) read and crop at most
    `look_ahead` frames ahead;
    `missing` says what stands in for a support frame without a file; `keep_going` leaves out sequences that fail and
    tells of them at the end.
    """

    batch_size: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    crop_path: str = "reference"
    fold: bool = False
    compiler: str = "none"
    deterministic: bool = False
    workers: int | None = None
    look_ahead: int = 16
    missing: str = "error"
    keep_going: bool = False


@dataclass(frozen=True)
class Asked:
    """One method of a pass: what it looks at, its flip test (None: the preset's choice), where its shards go.

    `probe` changes what the network is shown. A control names by `within` the place in the pass of its method, out of
    whose outputs it comes where the network hands out its backbone's.
    """

    method: Loaded
    boxes: Boxes
    flip: bool | None = None
    shards: Path | None = None
    probe: Intervention | None = None
    within: int | None = None


#: The settings of a run that says nothing of them.
USUAL = Settings()
