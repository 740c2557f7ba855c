"""What a training leaves behind: weights, curves, checkpoints and the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson
import torch

from harness.environment import describe_environment
from harness.files import write_whole
from harness.training.checkpoint import save_checkpoint, write_log
from harness.training.schedule import learning_rate
from harness.training.trainer import Trainer
from harness.typed_json import to_plain
from harness.version import __version__
from harness.weights import parameter_count, save

__all__ = ["Keeper", "Scored", "Trained"]


@dataclass(frozen=True)
class Scored:
    """PCKh@0.5 and AP (0..1) on the held-out sequences, None where not measured."""

    pckh: float | None = None
    ap: float | None = None


@dataclass(frozen=True)
class Trained:
    """What a training left: files in `folder`, the record as written, PCKh@0.5 and AP (0..1) on held-out sequences."""

    folder: Path
    weights: Path
    sha256: str
    record: dict[str, Any]
    held_out_pckh: float
    held_out_ap: float | None = None


class Keeper:
    """Writes what a training leaves, as it goes; of several processes, the first."""

    def __init__(self, trainer: Trainer, out: Path, identity: dict[str, Any], checkpoint_seconds: float) -> None:
        self.trainer = trainer
        self.out = out
        self.identity = identity
        self.checkpoint_seconds = checkpoint_seconds
        self.saved = perf_counter()

    def note(self, loss: float, scored: Scored) -> None:
        """Log a stretch of steps; keep the best weights and, now and then, a checkpoint."""
        trainer, state = self.trainer, self.trainer.progress
        state.log.append(
            {
                "step": state.step,
                "seconds": round(state.seconds, 2),
                "learning_rate": learning_rate(trainer.recipe, state.step - 1, state.steps),
                "loss": loss,
                "held_out_pckh": scored.pckh,
                "held_out_ap": scored.ap,
            }
        )
        if not trainer.team.first:
            return
        write_log(self.out / "log.csv", state)
        if scored.pckh is not None and scored.pckh > state.best:
            state.best = scored.pckh
            save(trainer.shipped.module, self.out / "best.safetensors", about=self.about(scored))
        if scored.pckh is not None or perf_counter() - self.saved > self.checkpoint_seconds:
            save_checkpoint(self.out / "checkpoint.pt", trainer.parts, state, self.identity)
            self.saved = perf_counter()

    def about(self, scored: Scored) -> dict[str, Any]:
        """What the weights file says of itself."""
        named = {key: self.identity[key] for key in ("method", "preset", "dataset", "split", "fingerprint", "seed")}
        method = self.trainer.method
        if (codec := method.preset.codec) != method.card.presets[method.preset_name].codec:
            named |= {"codec": codec, "activation": method.preset.codec_options.get("activation")}
        return {**named, "step": self.trainer.progress.step, "held_out_pckh": round(scored.pckh or 0.0, 6)}

    def finish(self) -> Trained:
        """Write the last weights and the record."""
        trainer, path = self.trainer, self.out / "last.safetensors"
        if not trainer.team.first:
            return Trained(self.out, path, "", {}, float("nan"))
        rows = [row for row in trainer.progress.log if row["held_out_pckh"] is not None]
        scored = Scored(rows[-1]["held_out_pckh"], rows[-1].get("held_out_ap"))
        digest = save(trainer.shipped.module, path, about=self.about(scored))
        record = self.record(digest, scored)
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
        write_whole(self.out / "record.json", orjson.dumps(record, option=options) + b"\n")
        return Trained(self.out, path, digest, record, scored.pckh or 0.0, scored.ap)

    def record(self, digest: str, scored: Scored) -> dict[str, Any]:
        """The training record: what was asked, where and how long it ran, what came of it."""
        trainer, state = self.trainer, self.trainer.progress
        return {
            **self.identity,
            **trainer.facts,
            "harness": __version__,
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "environment": to_plain(describe_environment()),
            "device": str(trainer.device),
            "processes": trainer.team.size,
            "threads": torch.get_num_threads(),
            "parameters": parameter_count(trainer.method.module),
            "samples": len(trainer.learned.samples),
            "held_out_samples": len(trainer.held_out.samples),
            "steps": state.steps,
            "clips": state.steps * trainer.recipe.batch_size,
            "seconds": round(state.seconds, 1),
            "held_out_pckh": scored.pckh,
            "held_out_ap": scored.ap,
            "best_held_out_pckh": state.best,
            "sha256": digest,
            "curve": state.log,
        }
