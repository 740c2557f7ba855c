"""Groupings: outputs of a network for whole frames -> persons, batched torch on any device as far as that pays."""

from harness.grouping.assignment import assign
from harness.grouping.candidates import Candidates, only_peaks, strongest
from harness.grouping.embedding import AssociativeEmbedding, visiting_order
from harness.grouping.grouping import Grouping, Pass, People, build_grouping, groupings, register_grouping
from harness.grouping.tags import TagRule, match_tags

__all__ = [
    "AssociativeEmbedding",
    "Candidates",
    "Grouping",
    "Pass",
    "People",
    "TagRule",
    "assign",
    "build_grouping",
    "groupings",
    "match_tags",
    "only_peaks",
    "register_grouping",
    "strongest",
    "visiting_order",
]
