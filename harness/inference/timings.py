"""Where the time of a run went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["STAGES", "Timings", "summed"]

#: The stages in seconds, as they stand in a record.
STAGES = ("read", "crop", "wait", "sample", "forward", "decode", "write", "warm_up", "compile", "wall")


@dataclass
class Timings:
    """Seconds and counts of one method in one run.

    `read` and `crop` are summed over the reading threads and overlap the rest; `wait` (for crops), `sample` (crops on
    the device), `forward` (upload, normalise, network), `decode` (outputs to image px) and `write` follow one another
    in the main thread and add up, with what is left over, to `wall`. `warm_up` (a first batch) and `compile` are
    not part of `wall`. What several methods of one pass share is divided evenly between them. Counts are of this run;
    `resumed` are the clips that were found done, `beside` those that came out of another method's pass and took no
    time of their own, `batch_size` the largest batch that was used.
    """

    read: float = 0.0
    crop: float = 0.0
    wait: float = 0.0
    sample: float = 0.0
    forward: float = 0.0
    decode: float = 0.0
    write: float = 0.0
    warm_up: float = 0.0
    compile: float = 0.0
    wall: float = 0.0
    sequences: int = 0
    frames: int = 0
    clips: int = 0
    resumed: int = 0
    beside: int = 0
    batch_size: int = 0

    @property
    def own(self) -> float:
        """Seconds of the main thread that only this method took."""
        return self.forward + self.decode + self.write

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain numbers."""
        return asdict(self)


def summed(parts: list[dict[str, Any]]) -> Timings:
    """The timings of several ranks as one: seconds and counts added; wall, clips found and batch are the first's."""
    total = Timings(**parts[0])
    for item in fields(Timings):
        if item.name not in ("wall", "resumed", "batch_size", "warm_up", "compile"):
            setattr(total, item.name, sum(part[item.name] for part in parts))
    return total
