"""Does alignment align? Measured inside the network while it runs over a data set, by how far joints moved."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, UsageError
from harness.evaluate import Evaluated, evaluate
from harness.opening import Progress
from harness.probes.changes import with_rows
from harness.probes.watching import MOVED, Watch, Watching
from harness.request import Request
from harness.results import Results, StoredRun
from harness.scoring.replicates import bootstrap_draws

if TYPE_CHECKING:
    import torch

    from harness.boxes import Boxes
    from harness.clips import Clips
    from harness.datasets.sequences import DataSet
    from harness.datasets.sequences import Sequence as Video
    from harness.inference.loaded import Loaded
    from harness.inference.work import SequenceWork
    from harness.methods import Preset

__all__ = ["EDGES", "AlignmentProbe", "alignment_rows", "measure_alignment"]

#: Bins of how far a joint moved between key and support frame, in cells of the features.
EDGES = (1.0, 2.0, 4.0)

_REPLICATES = 1000


@dataclass(frozen=True)
class AlignmentProbe:
    """Changes nothing; watches a network that says how it aligns (its module has `alignment(clips)`)."""

    watch: Watch

    @property
    def label(self) -> str:
        """Its name in records."""
        return "alignment"

    def check(self, preset: Preset, *, method: str) -> None:
        """Raise UsageError for a method without a key frame and neighbours."""
        if 0 not in preset.support or not any(preset.support):
            raise UsageError(f"method '{method}' has no neighbours to align with a key frame")

    def prepared(self, method: Loaded) -> Loaded:
        """The method with its network watched; UsageError where that cannot say how it aligns."""
        if not hasattr(method.module, "alignment"):
            raise UsageError(
                f"method '{method.card.name}' does not expose aligned features; give its network "
                "alignment(clips) -> maps by name, as FAMI-Pose's and HMTA's have"
            )
        watching = Watching(
            method.module, self.watch, method.card.skeleton, method.preset.support, method.codec.geometry
        )
        return replace(method, module=watching)

    def boxes(self, boxes: Boxes, dataset: DataSet) -> Boxes:
        """The boxes as they are."""
        return boxes

    def offsets(self, support: tuple[int, ...]) -> tuple[int, ...]:
        """The frames as they are."""
        return support

    def clips(self, clips: Clips, sequence: Video, support: tuple[int, ...]) -> Clips:
        """The clips as they are."""
        return clips

    def crops(self, work: SequenceWork, part: slice, crops: torch.Tensor) -> torch.Tensor:
        """The crops as they are, noted down."""
        self.watch.expect(work, part, crops)
        return crops


def measure_alignment(
    subject: Request,
    store: Results,
    *,
    seed: int = 0,
    overwrite: str = "missing",
    progress: Progress | None = None,
) -> StoredRun:
    """The run of a method with what its alignment does kept in its record; answered from the store if it is there.

    What was measured is lost with an interruption, so that an unfinished run starts again. Raises DataError where
    nobody could be followed.
    """

    def watched(how: str) -> tuple[Watch, Evaluated]:
        watch = Watch()
        request = replace(subject, probe=AlignmentProbe(watch), flip=False)
        return watch, evaluate(request, store, overwrite=how, progress=progress)

    watch, found = watched(overwrite)
    known = found.run.record.findings
    if "rows" in known and (known.get("seed", 0) == seed or overwrite == "never"):
        return found.run
    if not _complete(watch, found.run):
        watch, found = watched("always")
    if not watch.joints:
        raise DataError(
            f"{found.run.folder}: no joint was followed from a key frame to its neighbours: there are no boxes "
            "(--boxes, --min-box-score), or no labels of the same people beside them"
        )
    rows = alignment_rows(watch, seed=seed)
    facts = {"edges": list(EDGES), **({"seed": seed} if seed else {})}
    return with_rows(store, found.run, rows, facts=facts, maps=_packed(watch))


def alignment_rows(watch: Watch, *, seed: int = 0) -> list[dict[str, Any]]:
    """Means of all measures by how far joints moved, and over clips, with intervals over sequences."""
    joints, clips = _joined(watch.joints), _joined(watch.clips)
    rows = []
    for bin_name, inside in _bins(joints["moved"]):
        chosen = {name: values[inside] for name, values in joints.items()}
        rows += _means(chosen, bin_name, seed)
    rows += _means(clips, "clips", seed)
    if "mask" in joints:
        value = _area_under_curve(joints["mask"], joints["moved"] > MOVED)
        rows.append(_row("mask_auc", "all", value, float("nan"), float("nan"), len(joints["mask"])))
    return rows


def _bins(moved: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    yield "all", np.ones(len(moved), dtype=bool)
    edges = (0.0, *EDGES, float("inf"))
    for low, high in pairwise(edges):
        name = f"<{high:g}" if low == 0 else f">={low:g}" if high == float("inf") else f"{low:g}-{high:g}"
        yield name, (moved >= low) & (moved < high)


def _means(columns: dict[str, NDArray[np.float64]], bin_name: str, seed: int) -> list[dict[str, Any]]:
    sequence = columns["sequence"].astype(np.int64)
    rows = []
    for name, values in columns.items():
        if name in ("sequence", "joint"):
            continue
        known = ~np.isnan(values)
        low, high = _interval(values[known], sequence[known], seed)
        mean = float(values[known].mean()) if known.any() else float("nan")
        rows.append(_row(name, bin_name, mean, low, high, int(known.sum())))
    return rows


def _interval(values: NDArray[np.float64], sequence: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """95 % of the mean over whole sequences drawn again; NaN for fewer than two."""
    numbers, place = np.unique(sequence, return_inverse=True)
    if len(numbers) < 2:
        return float("nan"), float("nan")
    draws = bootstrap_draws(len(numbers), _REPLICATES, seed=seed)
    sums, counts = np.bincount(place, weights=values), np.bincount(place)
    low, high = np.percentile((draws @ sums) / (draws @ counts), [2.5, 97.5])
    return float(low), float(high)


def _area_under_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN without one of them."""
    from scipy.stats import rankdata

    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(positive) - count)))


def _row(name: str, bin_name: str, value: float, low: float, high: float, count: int) -> dict[str, Any]:
    numbers = {"value": value, "low": low, "high": high}
    plain = {key: None if number != number else round(number, 5) for key, number in numbers.items()}
    return {"what": "alignment", "measure": name, "bin": bin_name, **plain, "n": count}


def _joined(parts: Sequence[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _complete(watch: Watch, run: StoredRun) -> bool:
    """Whether every clip of the run was watched: none came from an interrupted run's finished sequences."""
    return run.record.predictions is not None and len(watch.seen) >= run.record.predictions.rows


def _packed(watch: Watch) -> bytes:
    content = io.BytesIO()
    arrays = {
        f"{number}_{name}": value.astype(np.uint8 if "crop" in name else np.float16)
        for number, kept in enumerate(watch.kept)
        for name, value in kept.maps.items()
    }
    np.savez_compressed(content, **arrays)
    return content.getvalue()
