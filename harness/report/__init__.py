"""Records to tables and figures; the figures load matplotlib only when one is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.report.difference_tables import against, compared
from harness.report.formats import FORMATS, render
from harness.report.paper import paper_names, paper_table
from harness.report.slice_tables import by_joint, by_slice
from harness.report.tables import Table, cost_table, leaderboard, per_joint

if TYPE_CHECKING:
    from harness.report.plots import ap_against_speed, per_joint_bars
    from harness.report.style import save

__all__ = [
    "FORMATS",
    "Table",
    "against",
    "ap_against_speed",
    "by_joint",
    "by_slice",
    "compared",
    "cost_table",
    "leaderboard",
    "paper_names",
    "paper_table",
    "per_joint",
    "per_joint_bars",
    "render",
    "save",
]

_LATER = {
    "ap_against_speed": "harness.report.plots",
    "per_joint_bars": "harness.report.plots",
    "save": "harness.report.style",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'harness.report' has no attribute '{name}'")
