"""Scores as one JSON object, the form other programs read."""

from __future__ import annotations

from typing import Any

from harness.scoring.oks import NAME as OKS
from harness.scoring.oks import oks_json
from harness.scoring.posetrack21 import NAME as POSETRACK21
from harness.scoring.posetrack21 import hota_json
from harness.scoring.poseval import NAME as POSEVAL
from harness.scoring.poseval import plain, poseval_json
from harness.scoring.scores import Scores

__all__ = ["scores_json"]


def scores_json(scores: Scores) -> dict[str, Any]:
    """The overall values of every protocol in a table, NaN as None.

    AP-like protocols stand at the top level as `ap`, `precision`, `recall` (joint names and "total") and `groups`, with
    `mot` (poseval) or `hota` (PoseTrack21 kit) beside them; `oks`, `pck` and `temporal` are objects of their own, so
    that tables of several protocols can be added. Of poseval and the kit, poseval's AP wins. `slices` and `sequences`
    map a label to metric to joint; a metric whose name is taken by poseval's or the kit's stands in an object of its
    protocol there, as `oks` does for its `ap`.
    """
    protocols = dict.fromkeys(entry.protocol for entry in scores.entries)
    found: dict[str, Any] = {}
    if POSETRACK21 in protocols:
        found |= _precision(scores.select(protocol=POSETRACK21))
        hota = hota_json(scores)
        found |= {"hota": hota} if hota else {}
    if POSEVAL in protocols:
        found |= poseval_json(scores)
    if OKS in protocols:
        found["oks"] = oks_json(scores)
    for label in dict.fromkeys(entry.slice for entry in scores.entries):
        if label != "all":
            kind, name = ("sequences", label.partition(":")[2]) if label.startswith("sequence:") else ("slices", label)
            found.setdefault(kind, {})[name] = _metrics(scores.select(slice=label))
    for name in protocols:
        if name not in (POSEVAL, POSETRACK21, OKS):
            found[name] = _metrics(scores.select(protocol=name, slice="all"))
    return found


def _metrics(scores: Scores) -> dict[str, dict[str, Any]]:
    """Metric -> joint -> value of a table that holds one slice, poseval's first, then the kit's."""
    ranked = sorted({entry.protocol for entry in scores.entries} - {POSEVAL, POSETRACK21})
    label = scores.entries[0].slice
    found: dict[str, dict[str, Any]] = {}
    for protocol in (POSEVAL, POSETRACK21, *ranked):
        own = scores.select(protocol=protocol)
        for metric in dict.fromkeys(entry.metric for entry in own.entries):
            values = plain(own.by_joint(metric, slice=label))
            if metric not in found:
                found[metric] = values
            elif protocol != POSETRACK21:
                found.setdefault(protocol, {})[metric] = values
    return found


def _precision(scores: Scores) -> dict[str, Any]:
    found: dict[str, Any] = {metric: plain(scores.by_joint(metric)) for metric in ("ap", "precision", "recall")}
    return found | {"groups": plain(scores.groups("ap"))}
