"""Comparing two runs on the same truth: is the difference real, per joint, group and slice.

Source: specification of slices, section 7. Both runs are drawn and swapped by whole sequences; AP is recomputed from
pooled entries every time. `a` is the reference, `b` the candidate, differences are b - a in percent points.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Series

import numpy as np

from harness.datasets.sequences import DataSet, Sequence
from harness.errors import DataError
from harness.predictions import Predictions
from harness.scoring.differences import Comparison, Difference, judged
from harness.scoring.matched import Matched, match_run
from harness.scoring.paired import PairedBin
from harness.scoring.replicates import swap_draws
from harness.scoring.slices import Assigned, GreyImages, assign_all
from harness.scoring.slices.scoring import ALL, MIN_ITEMS, MIN_SEQUENCES, SliceCounts, count_assigned, whole
from harness.scoring.uncertainty import REPLICATES, IntervalKind, clusters

__all__ = ["Comparison", "Difference", "compare", "compare_matched"]

#: Random swaps of the permutation test; all of them where there are fewer.
PERMUTATIONS = 10_000


def compare(
    data: DataSet | Series[Sequence],
    predictions_a: Predictions,
    predictions_b: Predictions,
    *,
    slices: Iterable[str] = (ALL,),
    compat: str = "official",
    images: GreyImages | None = None,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    kind: IntervalKind = "percentile",
    level: float = 0.95,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
) -> Comparison:
    """Compare two sets of predictions for the same data, per joint, group and slice.

    Raises DataError where one of them lacks a sequence, UsageError for an unknown slice.
    """
    a, b = (match_run(data, predictions, compat=compat) for predictions in (predictions_a, predictions_b))
    return compare_matched(
        a, b, slices=slices, images=images, replicates=replicates, permutations=permutations, seed=seed, kind=kind,
        level=level, min_items=min_items, min_sequences=min_sequences,
    )  # fmt: skip


def compare_matched(
    a: Matched,
    b: Matched,
    *,
    slices: Iterable[str] = (ALL,),
    images: GreyImages | None = None,
    replicates: int = REPLICATES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    kind: IntervalKind = "percentile",
    level: float = 0.95,
    min_items: int = MIN_ITEMS,
    min_sequences: int = MIN_SEQUENCES,
) -> Comparison:
    """Compare two matched runs; raises DataError unless they were matched to the same truth."""
    check_same_truth(a, b)
    wanted = list(dict.fromkeys(slices))
    found, lacking = assign_all([name for name in wanted if name != ALL], a, images)
    by_name = {part.name: part for part in found} | {ALL: whole(a)}
    parts = [by_name[name] for name in wanted if name in by_name]
    sides = [count_assigned(run, parts, min_items=min_items, min_sequences=min_sequences) for run in (a, b)]
    units = clusters(a)
    swaps, exact = swap_draws(len(units), permutations, seed=seed)
    rows: list[Difference] = []
    for assigned, number, counts in _bins(parts, *sides):
        test = PairedBin(a, b, assigned, number, counts, units)
        rows += test.rows(replicates=replicates, seed=seed, kind=kind, level=level, swaps=swaps)
    facts = {
        "sequences": len(units), "replicates": replicates, "permutations": len(swaps) - (not exact),
        "all_permutations": exact, "seed": seed, "interval": kind, "level": level, "not_available": lacking,
    }  # fmt: skip
    warnings = tuple(f"slice '{name}' is not available: it needs {needs}" for name, needs in lacking.items())
    return Comparison(judged(rows, level), warnings, facts)


def check_same_truth(a: Matched, b: Matched) -> None:
    """Raise DataError naming the first thing in which two runs' truths differ."""
    names = [run.table.scene.sequence_names for run in (a, b)]
    if names[0] != names[1]:
        odd = sorted(set(names[0]) ^ set(names[1])) or ["their order"]
        raise DataError(
            f"the two runs are of different sequences ({len(names[0])} and {len(names[1])}; {odd[0]} differs); "
            "compare runs on the same data set and split"
        )
    first, second = a.table.scene, b.table.scene
    for label, left, right in (
        ("frames", first.frame_position, second.frame_position),
        ("people", first.truth.frame, second.truth.frame),
        ("joints", first.truth.x, second.truth.x),
        ("joints", first.truth.y, second.truth.y),
        ("head sizes", first.head, second.head),
    ):
        if left.shape != right.shape or not np.array_equal(left, right, equal_nan=left.dtype.kind == "f"):
            raise DataError(
                f"the two runs were scored against different truths: the {label} differ; score both against the same "
                "label files and with the same --compat"
            )


def _bins(
    parts: list[Assigned], first: list[SliceCounts], second: list[SliceCounts]
) -> Iterable[tuple[Assigned, int, tuple[SliceCounts, SliceCounts]]]:
    flat = [(part, number) for part in parts for number in range(len(part.bins))]
    for (part, number), *counts in zip(flat, first, second, strict=True):
        yield part, number, (counts[0], counts[1])
