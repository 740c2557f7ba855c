"""The wrapped methods: importing this package registers them and their weights."""

from pathlib import Path

from baselines import (
    copy_previous,
    dcpose,
    dcpose_adaptive,
    dekr,
    dual_stream,
    fami,
    fami_simcc,
    higher_hrnet,
    hmta,
    hrnet,
    mean_pose,
    onnx,
    prtr,
    simcc,
    simple_baseline,
    spatial_transformer,
    vitpose,
)
from harness.training.recipes import register_recipes
from harness.weights import register_manifest

__all__ = [
    "copy_previous",
    "dcpose",
    "dcpose_adaptive",
    "dekr",
    "dual_stream",
    "fami",
    "fami_simcc",
    "higher_hrnet",
    "hmta",
    "hrnet",
    "mean_pose",
    "onnx",
    "prtr",
    "simcc",
    "simple_baseline",
    "spatial_transformer",
    "vitpose",
]

register_manifest(Path(__file__).parent / "weights" / "manifest.toml")
register_recipes(Path(__file__).parent / "recipes")
