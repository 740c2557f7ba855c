"""Suppression (NMS) of poses that are found twice: by OKS, hard or soft, and by RMPE's parametric rule."""

from harness.suppression.oks import instance_scores, oks_suppression, soft_oks_suppression
from harness.suppression.parametric import MergedPoses, merge_poses, merge_poses_original
from harness.suppression.rules import RULES, suppress, threshold_of

__all__ = [
    "RULES",
    "MergedPoses",
    "instance_scores",
    "merge_poses",
    "merge_poses_original",
    "oks_suppression",
    "soft_oks_suppression",
    "suppress",
    "threshold_of",
]
