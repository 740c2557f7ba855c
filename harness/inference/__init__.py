"""Inference: boxes and frames in, poses out; each frame decoded once, crops batched, finished sequences kept."""

from harness.inference.engine import SCORE_RULE, predict, predict_together
from harness.inference.flops import multiply_adds_of
from harness.inference.frame_task import FRAME_SCORE_RULE
from harness.inference.loaded import PRECISIONS, Loaded, choose_device
from harness.inference.loading import RANDOM, Ready, load_method
from harness.inference.ranks import ALONE, Ranks, join_ranks
from harness.inference.reading import CROP_PATHS
from harness.inference.settings import Asked, Settings
from harness.inference.shards import in_use, in_use_by_all
from harness.inference.spread import batch_spread
from harness.inference.timings import STAGES, Timings

__all__ = [
    "ALONE",
    "CROP_PATHS",
    "FRAME_SCORE_RULE",
    "PRECISIONS",
    "RANDOM",
    "SCORE_RULE",
    "STAGES",
    "Asked",
    "Loaded",
    "Ranks",
    "Ready",
    "Settings",
    "Timings",
    "batch_spread",
    "choose_device",
    "in_use",
    "in_use_by_all",
    "join_ranks",
    "load_method",
    "multiply_adds_of",
    "predict",
    "predict_together",
]
