"""The registered scoring protocols and the one function that runs one."""

from __future__ import annotations

from collections.abc import Sequence as Series
from typing import Protocol

from harness.datasets.sequences import DataSet, Sequence
from harness.errors import UsageError
from harness.predictions import Predictions
from harness.registry import Registry
from harness.scoring.endpoint import NAME as PCK
from harness.scoring.endpoint import score_endpoint
from harness.scoring.oks import NAME as OKS
from harness.scoring.oks import score_oks
from harness.scoring.posetrack21 import NAME as POSETRACK21
from harness.scoring.posetrack21 import score_posetrack21
from harness.scoring.poseval import NAME as POSEVAL
from harness.scoring.poseval import score_poseval
from harness.scoring.scores import Scores
from harness.scoring.temporal import NAME as TEMPORAL
from harness.scoring.temporal import score_temporal

__all__ = ["COMPATS", "ScoringProtocol", "protocols", "score"]

#: "official" reproduces what upstream's programs print, known faults included; "fixed" mends the faults.
COMPATS = ("official", "fixed")


class ScoringProtocol(Protocol):
    """Sequences and predictions to rows."""

    def __call__(
        self,
        sequences: Series[Sequence],
        predictions: Predictions,
        *,
        compat: str,
        per_sequence: bool,
        tracking: bool | None,
    ) -> Scores:
        """Score; raises DataError naming sequence, frame and record."""


protocols: Registry[ScoringProtocol] = Registry("protocol")
protocols.add(POSEVAL, score_poseval)
protocols.add(POSETRACK21, score_posetrack21)
protocols.add(OKS, score_oks)
protocols.add(PCK, score_endpoint)
protocols.add(TEMPORAL, score_temporal)


def score(
    data: DataSet | Series[Sequence],
    predictions: Predictions,
    *,
    protocol: str = POSEVAL,
    compat: str = "official",
    per_sequence: bool = False,
    tracking: bool | None = None,
) -> Scores:
    """Score predictions against a data set (or some sequences of it) under a registered protocol.

    `per_sequence` adds rows with slice "sequence:NAME"; `tracking` adds the protocol's tracking metrics (None: where
    everybody has a track id). For protocol "poseval" values are percent exactly as poseval
    computes them. Raises UsageError for an unknown protocol or compat, DataError for data that cannot be scored,
    among them a run that shares no sequence with the truth.
    """
    if compat not in COMPATS:
        raise UsageError(f"unknown compat '{compat}'; choose {' or '.join(COMPATS)}")
    sequences = data.sequences if isinstance(data, DataSet) else data
    return protocols[protocol](sequences, predictions, compat=compat, per_sequence=per_sequence, tracking=tracking)
