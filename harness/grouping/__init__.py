"""Groupings: outputs of a network for whole frames -> persons, batched torch on any device as far as that pays."""

from harness.grouping.assignment import assign
from harness.grouping.candidates import Candidates, only_peaks, strongest
from harness.grouping.embedding import AssociativeEmbedding, visiting_order
from harness.grouping.grouping import Grouping, Pass, People, build_grouping, groupings, register_grouping
from harness.grouping.offsets import CentreOffsets
from harness.grouping.queries import best_queries, read_joints
from harness.grouping.sets import PersonSet
from harness.grouping.tags import TagRule, match_tags

__all__ = [
    "AssociativeEmbedding",
    "Candidates",
    "CentreOffsets",
    "Grouping",
    "Pass",
    "People",
    "PersonSet",
    "TagRule",
    "assign",
    "best_queries",
    "build_grouping",
    "groupings",
    "match_tags",
    "only_peaks",
    "read_joints",
    "register_grouping",
    "strongest",
    "visiting_order",
]
