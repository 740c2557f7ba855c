"""The wrapped methods: importing this package registers them and their weights."""

from pathlib import Path

from baselines import copy_previous, hrnet, mean_pose
from harness.weights import register_manifest

__all__ = ["copy_previous", "hrnet", "mean_pose"]

register_manifest(Path(__file__).parent / "weights" / "manifest.toml")
