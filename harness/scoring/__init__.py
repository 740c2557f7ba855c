"""Scoring: match once per sequence, then count and compute; numpy only."""

from harness.scoring.scores import TOTAL, Score, Scores

__all__ = ["TOTAL", "Score", "Scores"]
