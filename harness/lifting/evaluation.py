"""From trained networks and tracks to the numbers and the document that is kept of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from torch import nn

from harness.datasets import DataSet
from harness.environment import describe_environment
from harness.files import write_atomically
from harness.lifting.networks import laid_end_to_end
from harness.lifting.scores import score_lifted
from harness.lifting.tracks import Tracks, features, fingerprint
from harness.lifting.training import open_networks
from harness.typed_json import to_plain
from harness.version import __version__
from harness.weights import parameter_count

__all__ = ["evaluate_lifting", "lift", "store_lifting"]


def evaluate_lifting(dataset: DataSet, tracks: Tracks, folder: Path, *, seen: str) -> dict[str, Any]:
    """The networks of a training judged on tracks of a split, as the document that `store_lifting` writes.

    `seen` says whose joints the tracks hold: "labels" or the id of a run. Raises WeightsError where `folder` does not
    hold one whole training.
    """
    networks, hashes, training = open_networks(folder)
    lifted: dict[str, NDArray[np.float64]] = {}
    for name, network in networks.items():
        lifted |= dict(zip((name, f"{name}_bones"), lift(network, tracks), strict=False))
    lifted["truth"] = tracks.truth
    return {
        "dataset": {
            "name": dataset.name, "split": dataset.split, "fingerprint": dataset.fingerprint,
            "sequences": len(np.unique(tracks.sequence)), "tracks": len(tracks), "poses": int(tracks.present.sum()),
        },
        "seen": seen,
        "joints": fingerprint(tracks),
        "training": training,
        "networks": {
            name: {"sha256": hashes[name], "parameters": parameter_count(network)} for name, network in networks.items()
        },
        "scores": to_plain(score_lifted(lifted, tracks, against="direct")),
        "environment": to_plain(describe_environment()),
        "harness_version": __version__,
    }  # fmt: skip


def lift(network: nn.Module, tracks: Tracks) -> list[NDArray[np.float64]]:
    """Joints (N,T,15,3) in metres; of the anatomy network also those of its bones laid end to end."""
    with torch.inference_mode():
        joints, parts = network.eval()(torch.from_numpy(features(tracks)), torch.from_numpy(tracks.present))
        bones = [] if parts is None else [laid_end_to_end(parts.lengths[:, None], parts.directions)]
        return [found.double().numpy() for found in (joints, *bones)]


def store_lifting(document: dict[str, Any], results: Path) -> Path:
    """Write a document to RESULTS/lifting/, named by its data, what was seen, and a hash of all that decides it."""
    data, asked = document["dataset"], [document[key] for key in ("joints", "networks", "harness_version")]
    key = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
    path = results / "lifting" / f"{data['name']}-{data['split']}-{document['seen']}-{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path
