"""Studies: questions put to stored runs. This file is the format of the TOML that asks them.

    title = "What time adds"                  # heads the page
    dataset = "synthtrack"                    # and split = "val": which runs count (these are the defaults)
    places = ["overall", "occluded", "fast"]  # where to look; PLACES has the names, "speed:slow/Wrist" is one too
    costs = ["parameters", "multiply_adds"]   # columns of cost; clips_per_second too if left out

    [arms.fami]                               # an arm is a thing that was run, once or with several seeds
    title = "FAMI-Pose"
    seeds = 3                                 # how many runs there should be (any number if left out)
    runs = [{method = "fami", preset = "tiny", label = "fami seed*"}]

    [arms.hrnet]
    title = "HRNet, the backbone alone"
    runs = [{method = "hrnet", weights = "3bb90112"}]   # a start of the weights' sha256, or their name

    [[questions]]
    name = "time"                             # names the figure
    ask = "Does FAMI-Pose beat its backbone?"
    arms = ["fami"]
    baselines = ["hrnet"]                     # every arm is compared with each; `against.fami = [...]` adds its own
    margin = 0.0                              # "yes" when the interval of the difference lies above -margin
    cheaper = "multiply_adds"                 # also asked: does it cost less? (or parameters, clips_per_second)
    errors = true                             # also shown: how near the joints lie, which AP forgives
    across_boxes = true                       # arms with other boxes, or none, may be compared, and the page says so
    note = "One sentence of what the reader should know."

A selector's words must all hold; `*` and `?` are wildcards. Only whole runs are chosen, and only those whose `request`
(a probe, outputs = "backbone", suppression ...) is exactly what the selector asks for, nothing by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, UsageError
from harness.scoring.scores import TOTAL
from harness.scoring.slices import slice_named
from harness.scoring.uncertainty import COLUMNS
from harness.toml_files import read_toml
from harness.typed_json import from_plain

__all__ = ["PLACES", "Arm", "Place", "Question", "Selector", "Study", "place_named", "read_study"]

_COSTS = ("parameters", "multiply_adds", "clips_per_second")


@dataclass(frozen=True)
class Place:
    """Where AP is looked at: a bin of a slice and a column of `COLUMNS`."""

    title: str
    slice: str
    column: str = TOTAL


#: The places with names of their own.
PLACES = {
    "overall": Place("overall", "all"),
    "visible": Place("visible", "visibility:visible"),
    "occluded": Place("occluded", "visibility:occluded"),
    "occluded-short": Place("occluded ≤ 4 frames", "occlusion_run:short"),
    "occluded-long": Place("occluded longer", "occlusion_run:long"),
    "slow": Place("slow", "speed:slow"),
    "fast": Place("fast", "speed:fast"),
    "wrists": Place("wrists", "all", "Wrist"),
    "ankles": Place("ankles", "all", "Ankle"),
}

_USUAL = ("overall", "occluded", "occluded-short", "occluded-long", "fast", "wrists", "ankles")


@dataclass(frozen=True)
class Selector:
    """Which runs: every word that is given must hold. `run` is an id, `weights` a name or a start of the sha256."""

    method: str | None = None
    preset: str | None = None
    weights: str | None = None
    label: str | None = None
    codec: str | None = None
    precision: str | None = None
    run: str | None = None
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """Runs that stand for one thing; `seeds` how many there should be."""

    runs: tuple[Selector, ...]
    title: str = ""
    seeds: int | None = None


@dataclass(frozen=True)
class Question:
    """What is asked: whether every arm is better than its baselines, by more than `-margin` points of AP."""

    name: str
    ask: str
    arms: tuple[str, ...]
    baselines: tuple[str, ...] = ()
    against: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    margin: float = 0.0
    cheaper: str = ""
    errors: bool = False
    across_boxes: bool = False
    places: tuple[str, ...] = ()
    headline: str = "overall"
    note: str = ""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(arm, baseline) in the order they are asked."""
        return tuple(
            (arm, baseline)
            for arm in self.arms
            for baseline in dict.fromkeys((*self.against.get(arm, ()), *self.baselines))
            if baseline != arm
        )

    @property
    def named(self) -> tuple[str, ...]:
        """Every arm that takes part."""
        return tuple(dict.fromkeys(arm for pair in self.pairs for arm in pair))


@dataclass(frozen=True)
class Study:
    """Questions over arms, all on one split."""

    title: str
    arms: Mapping[str, Arm]
    questions: tuple[Question, ...]
    intro: str = ""
    dataset: str = "synthtrack"
    split: str = "val"
    places: tuple[str, ...] = _USUAL
    costs: tuple[str, ...] = _COSTS
    replicates: int = 2000
    seed: int = 0

    def places_of(self, question: Question) -> tuple[str, ...]:
        """The places of a question, its headline first."""
        return tuple(dict.fromkeys((question.headline, *(question.places or self.places))))

    def title_of(self, arm: str) -> str:
        """What to call an arm."""
        return self.arms[arm].title or arm


def place_named(name: str) -> Place:
    """The place of a name of PLACES, a bin, or a bin and a joint or group.

    Raises UsageError for what is neither.

    >>> place_named("speed:medium/Wrist")
    Place(title='speed: medium, Wrist', slice='speed:medium', column='Wrist')
    >>> place_named("all/Head")
    Place(title='head', slice='all', column='Head')
    """
    if name in PLACES:
        return PLACES[name]
    label, _, column = name.partition("/")
    if column and column not in COLUMNS:
        raise UsageError(f"place '{name}': '{column}' is no joint and no group; there are {', '.join(COLUMNS)}")
    if label != "all":
        slice_name, _, bin_name = label.rpartition(":")
        if not slice_name:
            raise UsageError(f"unknown place '{name}'; choose of {', '.join(PLACES)}, or a bin as in speed:medium")
        parts = slice_named(slice_name)
        if len(parts) == 1 and bin_name not in parts[0].bins:
            raise UsageError(f"place '{name}': slice '{slice_name}' has the bins {', '.join(parts[0].bins)}")
    joint = column.replace("_", " ")
    if label == "all":
        return Place(joint.lower() or "overall", label, column or TOTAL)
    title = label.replace("_", " ").replace(":", ": ") + (f", {joint}" if joint else "")
    return Place(title, label, column or TOTAL)


def read_study(path: Path) -> Study:
    """Read and check a study; DataError names the file and the field that is wrong."""
    document = read_toml(path)
    try:
        study = from_plain(Study, document)
        if strange := sorted(set(study.costs) - set(_COSTS)):
            raise DataError(f"costs: no '{strange[0]}'; there are {', '.join(_COSTS)}")
        for question in study.questions:
            _check(study, question)
    except (DataError, UsageError) as problem:
        raise DataError(f"{path}: {problem}") from None
    return study


def _check(study: Study, question: Question) -> None:
    where = f"question '{question.name}'"
    named = {*question.arms, *question.baselines, *question.against}.union(*question.against.values())
    if unknown := sorted(named - set(study.arms)):
        raise DataError(f"{where}: no arm '{unknown[0]}'; there are {', '.join(study.arms)}")
    if not question.pairs:
        raise DataError(f"{where}: nothing to compare; name arms, and baselines for each")
    if question.cheaper and question.cheaper not in _COSTS:
        raise DataError(f"{where}: cheaper is '{question.cheaper}', expected {', '.join(_COSTS)}")
    if [other.name for other in study.questions].count(question.name) > 1 or not question.name.isidentifier():
        raise DataError(f"{where}: its name must be its own, of letters, digits and _")
    for name in study.places_of(question):
        place_named(name)
