"""A run that was matched once: what slices, diagnosis, intervals and comparisons are counted from."""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import DataSet, Sequence
from harness.predictions import Predictions
from harness.scoring.cleaning import poseval_scene
from harness.scoring.matching import MatchTable, match
from harness.scoring.overlaps import extents
from harness.scoring.poseval import check_not_empty
from harness.scoring.ragged import Integers

__all__ = ["Matched", "match_run"]


@dataclass(frozen=True, eq=False)
class Matched:
    """The match table of one run beside the sequences and predictions its rows lead to."""

    sequences: tuple[Sequence, ...]
    predictions: Predictions
    table: MatchTable

    @property
    def sequence_count(self) -> int:
        """Sequences given, those that lost every frame in the clean-up included."""
        return len(self.sequences)

    @cached_property
    def truth_rows(self) -> Integers:
        """(G,) row of every scene truth person among the truths of all sequences laid end to end."""
        starts = np.cumsum([0, *(len(sequence.truth) for sequence in self.sequences)])[:-1]
        rows: Integers = starts[self.table.truth_sequence] + self.table.scene.truth.row
        return rows

    @cached_property
    def frame_rows(self) -> Integers:
        """(F,) number of every scene frame among the frames of all sequences laid end to end."""
        starts = np.cumsum([0, *(len(sequence.frames) for sequence in self.sequences)])[:-1]
        rows: Integers = starts[self.table.scene.frame_sequence] + self.table.scene.frame_position
        return rows

    @cached_property
    def truth_boxes(self) -> NDArray[np.float64]:
        """(G,4) xyxy px of the annotated people; the extent of their joints where the file gives no box."""
        people = self.table.scene.truth
        boxes = np.concatenate([sequence.truth.boxes for sequence in self.sequences])[self.truth_rows]
        return np.where(np.isnan(boxes), extents(people.x, people.y), boxes)

    @cached_property
    def predicted_boxes(self) -> NDArray[np.float64]:
        """(P,4) xyxy px the poses were looked for in; the extent of their joints where unknown."""
        people = self.table.scene.predicted
        boxes = self.predictions.boxes[people.row]
        return np.where(np.isnan(boxes), extents(people.x, people.y), boxes)


def match_run(data: DataSet | Series[Sequence], predictions: Predictions, *, compat: str = "official") -> Matched:
    """Clean up and match a run by poseval's rules, once for everything that is counted from it.

    Raises DataError as `score` does.
    """
    sequences = tuple(data.sequences if isinstance(data, DataSet) else data)
    table = match(poseval_scene(sequences, predictions, compat=compat))
    check_not_empty(table.scene)
    return Matched(sequences, predictions, table)
