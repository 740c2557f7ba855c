"""A recipe: everything about a training that is a choice, as data that goes into its record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from harness.errors import UsageError

__all__ = [
    "OPTIMISERS",
    "PRECISIONS",
    "SCHEDULES",
    "Adaptation",
    "Augmentation",
    "Recipe",
    "check_recipe",
    "plain_recipe",
]

OPTIMISERS = ("adamw", "adam")
SCHEDULES = ("cosine", "linear", "constant", "steps", "power")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a sample, the same for all frames of a clip.

    `scale` s: factor clip(1 + s n, 1 - s, 1 + s); `rotation` r degrees: clip(r n, -2 r, 2 r) with
    `rotation_probability`, n being standard normal (hrnet.md 4); `shift`: uniform within this share of the crop's
    sides; `flip` probability; `colour`: gain of each channel and of all uniform within 1 +- this, brightness +- half;
    `half_body`: probability of looking at the upper or the lower body alone, where more than 8 joints are known.
    `proposals`: probability that the box is one a detector might have given, by RMPE's model (harness.proposals).
    """

    scale: float = 0.12
    rotation: float = 15.0
    rotation_probability: float = 1.0
    shift: float = 0.05
    flip: float = 0.5
    colour: float = 0.2
    half_body: float = 0.0
    proposals: float = 0.0


@dataclass(frozen=True)
class Adaptation:
    """RegDA's: `trade_off` of what the heads disagree on, `margin` times as much on the source (seed002_rest.md 3.3).

    `scale` is the most of the adversary's gradient that reaches the features, half of its way there after about
    `horizon` steps.
    """

    margin: float = 4.0
    trade_off: float = 1.0
    scale: float = 0.1
    horizon: int = 1000


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Each default is what was done before there was a choice, so old checkpoints go on.

    `warm_up` steps rise linearly to `learning_rate`; then `schedule` "cosine" and "linear" fall to zero, "steps"
    multiplies by `decay` at every one of `milestones`, which are epochs of `epochs`: another budget compresses them;
    "power", without a rise, is RegDA's (1 + step / 10,000) ** -0.75.
    `clip_norm` bounds the gradient's norm. `held_out` is the share of training sequences kept for evaluation.
    `frozen` are prefixes of parameter names that keep their values; their batch norms keep their statistics too,
    unless `moving_norms`, as some releases have it. `layer_decay`: the learning rate of each layer of a transformer is
    this times that of the layer above. `undecayed`: parts of names without weight decay, beside vectors, which have
    none. `precision`: what forward and backward compute in. `average`: decay of a moving average of the weights, which
    is then what is evaluated and shipped. `adaptation` takes unlabelled pictures of another look beside the labelled.
    `masked`, of whole frames: ignore regions and people who are no targets count for nothing in the heatmaps.
    """

    loss: str = "spatial_cross_entropy"
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up: int = 60
    clip_norm: float | None = None
    held_out: float = 0.05
    minimum_joints: int = 6
    frozen: tuple[str, ...] = ()
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    epochs: float | None = None
    layer_decay: float | None = None
    undecayed: tuple[str, ...] = ()
    moving_norms: bool = False
    precision: str = "fp32"
    average: float | None = None
    adaptation: Adaptation | None = None
    masked: bool = False


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError, one line, for a value that a recipe cannot have."""
    for name, known in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
        if getattr(recipe, name) not in known:
            raise UsageError(f"{name} of a recipe is '{getattr(recipe, name)}', expected {' or '.join(known)}")
    if (recipe.schedule == "steps") != bool(recipe.milestones):
        raise UsageError('schedule "steps" and milestones belong together in a recipe; give both or neither')
    if recipe.milestones and recipe.epochs is None:
        raise UsageError(f"milestones {list(recipe.milestones)} of a recipe are epochs; say of how many with epochs")
    for name in ("layer_decay", "average"):
        if (value := getattr(recipe, name)) is not None and not 0 < value < 1:
            raise UsageError(f"{name} of a recipe is {value}, expected a number between 0 and 1")
    if recipe.batch_size < 1 or recipe.learning_rate <= 0 or not 0 < recipe.held_out < 1:
        raise UsageError("a recipe needs batch_size >= 1, learning_rate > 0 and held_out between 0 and 1")


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values."""
    plain: dict[str, Any] = orjson.loads(orjson.dumps(asdict(recipe)))
    return plain
