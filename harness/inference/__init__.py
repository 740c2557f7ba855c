"""Inference: boxes and frames in, poses out; each frame decoded once, crops batched, finished sequences kept."""

from harness.inference.engine import SCORE_RULE, Timings, predict
from harness.inference.loaded import PRECISIONS, Loaded, choose_device
from harness.inference.loading import RANDOM, Ready, load_method

__all__ = [
    "PRECISIONS",
    "RANDOM",
    "SCORE_RULE",
    "Loaded",
    "Ready",
    "Timings",
    "choose_device",
    "load_method",
    "predict",
]
