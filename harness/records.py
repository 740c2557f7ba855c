"""RunRecord: everything needed to say what a number is, and its JSON form that people can read and diff."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from harness.errors import DataError
from harness.scoring.scores import Score, Scores
from harness.typed_json import from_plain, to_plain
from harness.version import __version__

__all__ = [
    "SCHEMA", "BoxesUsed", "Cost", "DataUsed", "Environment", "InferenceUsed", "MethodUsed", "Partial",
    "PredictionsFile", "RunRecord", "WeightsUsed", "digest_of", "dump_record", "parse_record", "run_id",
]  # fmt: skip

#: Version of the JSON form. Fields may be added with a default; anything else raises it.
SCHEMA = 1


@dataclass(frozen=True)
class MethodUsed:
    """The method by its registered name, with the preset and the options it was built with."""

    name: str
    title: str
    preset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True)
class WeightsUsed:
    """The weights by their manifest name (or file name) and the sha256 of the file."""

    name: str
    sha256: str


@dataclass(frozen=True)
class DataUsed:
    """The split that was scored: `fingerprint` of its label files, scoring `protocol`, and how much of it there was.

    `images_fingerprint` is that of the frames a method looked at, None where it looked at none; `images` says by
    sequence what was in them (`image_hashes`), nothing in records from before there was that.
    """

    name: str
    split: str
    fingerprint: str
    protocol: str
    sequences: int
    frames: int
    labelled_frames: int
    people: int
    images_fingerprint: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BoxesUsed:
    """Who was looked at: `source` is "truth" or says which detector file; `recall` (0..1) of the boxes where known."""

    source: str
    sha256: str | None
    count: int
    recall: float | None = None


@dataclass(frozen=True)
class InferenceUsed:
    """How boxes became joints.

    `crop_size` (width, height) px; `enlarge` the factor on the box; `support` the frame offsets of a clip in the
    method's order; `box_offset` the frame whose box was looked at. `batch_size` is the one setting that is not part
    of the request: it changes nothing but rounding. `recurrent` are the frames that a step along a track looked at, for
    a method that carries maps along. `frame` says how whole frames were resized, for a method that is given no boxes.
    """

    codec: str
    crop_size: tuple[int, int]
    enlarge: float
    support: tuple[int, ...]
    flip_test: bool = False
    precision: str = "fp32"
    device: str = "cpu"
    batch_size: int | None = None
    score_rule: str = ""
    box_offset: int = 0
    codec_options: Mapping[str, Any] = field(default_factory=dict)
    crop_path: str = "reference"
    recurrent: tuple[int, ...] = ()
    frame: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What the run took: `seconds` by stage, and clips per second over the whole job where it was measured.

    `multiply_adds` of one clip (what papers call FLOPs), None where they were not counted.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    clips: int = 0
    frames: int = 0
    clips_per_second: float | None = None
    parameters: int | None = None
    multiply_adds: int | None = None


@dataclass(frozen=True)
class Environment:
    """Where it ran: versions of the packages that shape numbers, and the commit of the code where it lies in git."""

    python: str
    platform: str
    cpu_count: int
    packages: Mapping[str, str]
    commit: str | None = None


@dataclass(frozen=True)
class PredictionsFile:
    """The stored poses beside the record, from which the scores can be recomputed.

    Where they were not `kept`, their hash is: who makes them again knows whether they are the same.
    """

    file: str
    sha256: str
    rows: int
    kept: bool = True


@dataclass(frozen=True)
class Partial:
    """Why a run does not cover its split: such a run is listed, but never ranked."""

    reason: str


@dataclass(frozen=True)
class RunRecord:
    """One run: what was asked, of which data, and what came out.

    `created` is UTC, `2026-01-31T12:00:00Z`; `weights` is None for methods without any, `inference` for
    predictions that came from elsewhere; `scoring` are the facts that
    the scorer gave (compat, tie counts); `request` holds whatever else was asked and changes the numbers (a probe,
    scoring switches); `findings` what a probe found besides, its rows below "rows", and as "maps_sha256" the hash of
    features kept beside the record; `repeatability` what changes rounding, with the spread that was measured. `label`
    is what the user calls the run, and says nothing of how it was made: neither `id` nor digest depends on it. `id` is
    `<method>-<preset>-<key>`.
    """

    created: str
    command: str
    method: MethodUsed
    dataset: DataUsed
    boxes: BoxesUsed
    inference: InferenceUsed | None
    scores: tuple[Score, ...]
    cost: Cost
    environment: Environment
    weights: WeightsUsed | None = None
    predictions: PredictionsFile | None = None
    warnings: tuple[str, ...] = ()
    partial: Partial | None = None
    scoring: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    repeatability: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, Any] = field(default_factory=dict)
    harness_version: str = __version__
    label: str = ""

    @property
    def id(self) -> str:
        """Name of the run and of its folder."""
        return run_id(
            method=self.method, dataset=self.dataset, boxes=self.boxes, inference=self.inference, weights=self.weights,
            partial=self.partial, request=self.request, harness_version=self.harness_version,
        )  # fmt: skip

    @property
    def table(self) -> Scores:
        """The scores as the scorer gave them."""
        return Scores(self.scores, self.warnings, self.scoring)


def run_id(
    *,
    method: MethodUsed,
    dataset: DataUsed,
    boxes: BoxesUsed,
    inference: InferenceUsed | None,
    weights: WeightsUsed | None = None,
    partial: Partial | None = None,
    request: Mapping[str, Any] | None = None,
    harness_version: str = __version__,
) -> str:
    """`<method>-<preset>-<key>`, the key being 8 hexadecimal digits of the hash of what was asked for.

    It needs nothing that is only known after the run, so that the same request finds its record and a changed one gets
    its own. Titles, counts, box recall, images and batch size do not enter.
    """
    asked = {
        "method": [method.name, method.preset, method.options],
        "weights": weights and weights.sha256,
        "dataset": [dataset.name, dataset.split, dataset.fingerprint, dataset.protocol],
        "boxes": boxes.sha256 or boxes.source,
        "inference": inference and _changed(inference),
        "partial": partial and partial.reason,
        "request": request or {},
        "version": harness_version,
    }
    return f"{method.name}-{method.preset}-{_sha256(to_plain(asked))[:8]}"


def digest_of(document: Mapping[str, Any]) -> str:
    """`sha256:...` over every field of a record's JSON but the digest itself and the label."""
    return "sha256:" + _sha256({name: value for name, value in document.items() if name not in ("digest", "label")})


def dump_record(record: RunRecord) -> str:
    """JSON text of a record: fields in their declared order, one score per line, a digest over all at the end."""
    document = {"schema": SCHEMA, "id": record.id, **to_plain(record)}
    if not document["dataset"]["images"]:
        del document["dataset"]["images"]
    if document["predictions"] is not None and document["predictions"]["kept"]:
        del document["predictions"]["kept"]
    lists = {"scores": document["scores"]}
    short: dict[str, Any] = {**document, "scores": "@scores@"}
    if not document["findings"]:
        del short["findings"], document["findings"]  # as in records from before there were any
    elif isinstance(document["findings"].get("rows"), list):
        lists["rows"] = document["findings"]["rows"]
        short["findings"] = {**document["findings"], "rows": "@rows@"}
    document["digest"] = short["digest"] = digest_of(document)
    text = json.dumps(short, indent=2, ensure_ascii=False, allow_nan=False)
    for name, rows in lists.items():
        lines = ",\n    ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
        text = text.replace(f'"{name}": "@{name}@"', f'"{name}": [\n    {lines}\n  ]' if lines else f'"{name}": []', 1)
    return text + "\n"


def parse_record(content: bytes, *, source: str) -> tuple[RunRecord, dict[str, Any]]:
    """The record in a JSON document and the document itself; DataError names `source` and the field that is wrong."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{source}: not valid JSON ({error})") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise DataError(f"{source}: not a run record (no field 'schema')")
    schema = document["schema"]
    if type(schema) is int and schema > SCHEMA:
        raise DataError(f"{source}: schema {schema} is newer than {SCHEMA}, the newest read here; update the harness")
    if schema != SCHEMA:
        raise DataError(f"{source}: schema: expected {SCHEMA}, found {schema!r}")
    own = {name: value for name, value in document.items() if name not in ("schema", "id", "digest")}
    try:
        return from_plain(RunRecord, own), document
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _changed(inference: InferenceUsed) -> dict[str, Any]:
    """Fields that are not at their default, so that a field added later leaves the keys of old records alone."""
    plain = to_plain(inference)
    plain.pop("batch_size")
    defaults = to_plain(InferenceUsed(codec="", crop_size=(0, 0), enlarge=0.0, support=()))
    return {name: value for name, value in plain.items() if value != defaults[name]}


def _sha256(plain: Any) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
