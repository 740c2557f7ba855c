"""Predictions: the poses a method found, as columns; Parquet, and both PoseTrack JSON layouts in and out."""

from harness.predictions.combining import by_sequence, concatenate, only, truth_as_predictions
from harness.predictions.exporting import LAYOUTS, export_json
from harness.predictions.importing import Pairing, import_json
from harness.predictions.parquet import read_parquet, write_parquet
from harness.predictions.rows import Predictions, person_numbers
from harness.predictions.submissions import Fault, check_submission, submittable

__all__ = [
    "LAYOUTS",
    "Fault",
    "Pairing",
    "Predictions",
    "by_sequence",
    "check_submission",
    "concatenate",
    "export_json",
    "import_json",
    "only",
    "person_numbers",
    "read_parquet",
    "submittable",
    "truth_as_predictions",
    "write_parquet",
]
