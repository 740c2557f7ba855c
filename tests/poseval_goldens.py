"""The golden sets of the scoring tests: small synthetic ones in tests/data, the rest beside the checkout."""

import gzip
import json
from functools import cache
from pathlib import Path

import pytest

from harness.datasets.layouts import read_sequence
from harness.predictions import import_json

HERE = Path(__file__).parent / "data" / "poseval"
SHARED = Path(__file__).parents[2] / "shared" / "golden" / "poseval"

#: Sets that every clone has, and sets that are too large or not free to copy.
OWN, ELSEWHERE = ("tiny", "small", "rawfloat"), ("medium", "pt18_sample", "pt18_sample_x4")


def folder(name):
    """The folder of a golden set; skips the test where the set is not at hand."""
    found = HERE / name if (HERE / name).is_dir() else SHARED / name
    if not found.is_dir():
        pytest.skip(f"golden set {name} is not part of the repository and ../shared is absent")
    return found


@cache
def load(name, **options):
    """(sequences, predictions) of a golden set."""
    return read_folder(folder(name), **options)


def read_folder(root, **options):
    """(sequences, predictions) of a folder with gt/ and pred/."""
    files = sorted((root / "gt").iterdir())
    sequences = tuple(read_sequence(file, **options) for file in files)
    return sequences, import_json(root / "pred", sequences)


@cache
def expected(name, kind):
    """The stored numbers of a set, e.g. kind "poseval_head"."""
    for file in (folder(name) / f"expected_{kind}.json.gz", folder(name) / f"expected_{kind}.json"):
        if file.is_file():
            data = file.read_bytes()
            return json.loads(gzip.decompress(data) if file.suffix == ".gz" else data)
    return pytest.skip(f"golden set {name} stores no numbers of kind {kind}")


@cache
def edge_cases():
    """The micro cases by name, one quirk each."""
    return json.loads(gzip.decompress((HERE / "edge_cases.json.gz").read_bytes()))


def write_case(case, root):
    """Write the files of an edge case below `root`."""
    for side in ("gt", "pred"):
        (root / side).mkdir()
        for name, document in case[side].items():
            (root / side / name).write_text(json.dumps(document))
    return root
