"""What a training leaves behind: weights, curves, checkpoints and the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import torch

from harness.training.checkpoint import save_checkpoint, write_atomically, write_log
from harness.training.recipe import learning_rate
from harness.version import __version__
from harness.weights import parameter_count, save

if TYPE_CHECKING:
    from harness.training.trainer import Trainer

__all__ = ["Keeper", "Trained"]


@dataclass(frozen=True)
class Trained:
    """What a training left: files in `folder`, the record as written, PCKh@0.5 (0..1) on the held-out sequences."""

    folder: Path
    weights: Path
    sha256: str
    record: dict[str, Any]
    held_out_pckh: float


class Keeper:
    """Writes what a training leaves, as it goes."""

    def __init__(self, trainer: Trainer, out: Path, identity: dict[str, Any], checkpoint_seconds: float) -> None:
        self.trainer = trainer
        self.out = out
        self.identity = identity
        self.checkpoint_seconds = checkpoint_seconds
        self.saved = perf_counter()

    def note(self, loss: float, score: float | None) -> None:
        """Log a stretch of steps; keep the best weights and, now and then, a checkpoint."""
        state = self.trainer.progress
        state.log.append(
            {
                "step": state.step,
                "seconds": round(state.seconds, 2),
                "learning_rate": learning_rate(self.trainer.recipe, state.step - 1, state.steps),
                "loss": loss,
                "held_out_pckh": score,
            }
        )
        write_log(self.out / "log.csv", state)
        if score is not None and score > state.best:
            state.best = score
            save(self.trainer.method.module, self.out / "best.safetensors", about=self.about(score))
        if score is not None or perf_counter() - self.saved > self.checkpoint_seconds:
            save_checkpoint(
                self.out / "checkpoint.pt", self.trainer.method.module, self.trainer.optimiser, state, self.identity
            )
            self.saved = perf_counter()

    def about(self, score: float) -> dict[str, Any]:
        """What the weights file says of itself."""
        named = {key: self.identity[key] for key in ("method", "preset", "dataset", "split", "fingerprint", "seed")}
        return {**named, "step": self.trainer.progress.step, "held_out_pckh": round(score, 6)}

    def finish(self) -> Trained:
        """Write the last weights and the record."""
        trainer, state = self.trainer, self.trainer.progress
        score = next(row["held_out_pckh"] for row in reversed(state.log) if row["held_out_pckh"] is not None)
        path = self.out / "last.safetensors"
        digest = save(trainer.method.module, path, about=self.about(score))
        record = {
            **self.identity,
            "harness": __version__,
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "device": str(trainer.device),
            "threads": torch.get_num_threads(),
            "parameters": parameter_count(trainer.method.module),
            "samples": len(trainer.learned.samples),
            "held_out_samples": len(trainer.held_out.samples),
            "steps": state.steps,
            "clips": state.steps * trainer.recipe.batch_size,
            "seconds": round(state.seconds, 1),
            "held_out_pckh": score,
            "best_held_out_pckh": state.best,
            "sha256": digest,
            "curve": state.log,
        }
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
        write_atomically(self.out / "record.json", orjson.dumps(record, option=options) + b"\n")
        return Trained(self.out, path, digest, record, score)
