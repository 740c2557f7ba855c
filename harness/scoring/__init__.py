"""Scoring: match once per sequence, then count and compute; numpy only.

`score` runs a named protocol; for anything finer, make a scene, match it, and read the table:

    table = match(poseval_scene(sequences, predictions))     # who was matched to whom, once
    precision_recall(counted(table, keep=..., truth_keep=...))   # any number of times
"""

from harness.scoring.average_precision import counted, precision_recall
from harness.scoring.cleaning import poseval_scene
from harness.scoring.matching import MatchTable, match
from harness.scoring.objects import scores_json
from harness.scoring.oks import OksOptions, oks_json, score_oks
from harness.scoring.posetrack21 import hota_json
from harness.scoring.poseval import poseval_json
from harness.scoring.protocols import protocols, score
from harness.scoring.scores import TOTAL, Score, Scores

__all__ = [
    "TOTAL",
    "MatchTable",
    "OksOptions",
    "Score",
    "Scores",
    "counted",
    "hota_json",
    "match",
    "oks_json",
    "poseval_json",
    "poseval_scene",
    "precision_recall",
    "protocols",
    "score",
    "score_oks",
    "scores_json",
]
