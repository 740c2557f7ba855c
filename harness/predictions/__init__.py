"""Predictions: the poses a method found, as columns; Parquet, and both PoseTrack JSON layouts in and out."""

from harness.predictions.importing import import_json
from harness.predictions.rows import Predictions, person_numbers

__all__ = ["Predictions", "import_json", "person_numbers"]
