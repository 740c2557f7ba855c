"""The main job from end to end on the embedded data, as a user runs it: table, record, plots, and everything after."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import open_dataset
from harness.errors import DataError
from harness.inference import Ranks
from harness.predictions import read_parquet
from harness.results import Results
from harness.scoring import score

SMOKE = ("--dataset", "synthtrack-smoke")
RANDOM = ("--method", "hrnet", "--weights", "random", *SMOKE)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    from harness.cli import run

    folder = tmp_path_factory.mktemp("results")
    assert run(["eval", *RANDOM, "--results", str(folder), "--format", "csv"]) == 0
    return folder


def stored(results: Path, name: str):
    return Results(results).one(name)


def test_eval_prints_the_method_and_the_floor_and_says_where_things_are(harness, results: Path) -> None:
    answer = harness("eval", *RANDOM, "--results", results)
    assert answer.code == 0, answer.err
    assert "HRNet (tiny)" in answer.out and "Mean pose (tiny)" in answer.out
    assert "visibility: occluded" in answer.out and "speed: fast" in answer.out
    assert "answered from the store" in answer.err
    for line in answer.err.splitlines():
        if line.startswith(("record: ", "plot: ")):
            assert Path(line.split(": ", 1)[1]).stat().st_size > 500


def test_the_record_says_what_the_numbers_are(results: Path) -> None:
    record = stored(results, "hrnet").record
    dataset = open_dataset("synthtrack-smoke", "val")
    assert record.dataset.fingerprint == dataset.fingerprint
    assert record.dataset.people == sum(len(sequence.truth) for sequence in dataset.sequences)
    assert record.inference.crop_size == (96, 128) and record.inference.codec == "heatmap"
    assert record.boxes.source == "truth" and record.boxes.count == record.dataset.people
    assert record.cost.parameters == 455_409 and record.cost.clips == record.boxes.count
    assert 50e6 < record.cost.multiply_adds < 500e6 and stored(results, "mean_pose").record.cost.multiply_adds == 0
    assert {"torch", "numpy", "opencv-python-headless"} <= set(record.environment.packages)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_floor_that_fails_ends_the_run_of_several_processes(harness, results: Path, monkeypatch, ranks) -> None:
    """One process goes on without it; of several the others may not have failed, and would wait for it."""
    import harness.evaluate as evaluate
    import harness.inference as inference

    found = evaluate.evaluate_together

    def failing(requests, store, **options):
        if requests[0].method == "mean_pose":
            raise DataError("boxes.json: gone")
        return found(requests, store, overwrite="missing")

    monkeypatch.setattr(evaluate, "evaluate_together", failing)
    monkeypatch.setattr(inference, "join_ranks", lambda: Ranks(size=ranks))
    answer = harness("eval", *RANDOM, "--results", results, "--no-plots")
    assert answer.code == (0 if ranks == 1 else 1)
    assert ("HRNet (tiny)" in answer.out) == (ranks == 1)
    assert "the floor of every table: boxes.json: gone" in answer.err
    assert ("--no-floor leaves it out" in answer.err) == (ranks > 1)


def test_a_label_given_later_is_put_on_the_stored_run(harness, results: Path) -> None:
    before = stored(results, "hrnet")
    answer = harness("eval", *RANDOM, "--results", results, "--label", "untrained", "--no-floor", "--no-plots",
                     "--format", "csv")  # fmt: skip
    assert answer.code == 0 and "answered from the store" in answer.err
    assert "HRNet (tiny), untrained" in answer.out and "untrained" in harness("runs", "list", "--results", results).out
    after = stored(results, "hrnet")
    assert (after.id, after.document["digest"]) == (before.id, before.document["digest"])
    assert harness("verify", "hrnet", "--results", results).code == 0
    assert stored(results, "mean_pose").record.label == ""


def test_scores_of_the_record_are_those_of_its_predictions(results: Path) -> None:
    run = stored(results, "mean_pose")
    dataset = open_dataset("synthtrack-smoke", "val")
    again = score(dataset, read_parquet(run.predictions_path))
    for joint, value in again.by_joint("ap").items():
        assert run.record.table.value("ap", joint=joint) == value
    assert run.record.table.value("ap") > stored(results, "hrnet").record.table.value("ap")


def test_verify_finds_a_change_of_predictions_and_of_a_score(harness, results: Path, tmp_path: Path) -> None:
    assert harness("verify", "--results", results).code == 0
    run = stored(results, "mean_pose")
    record = (run.folder / "record.json").read_text()
    first = run.record.table.value("ap")
    (run.folder / "record.json").write_text(record.replace(json.dumps(first), json.dumps(first + 1), 1))
    tampered = harness("verify", "mean_pose", "--results", results)
    (run.folder / "record.json").write_text(record)
    assert tampered.code == 5 and "edited" in tampered.out and "recomputed" in tampered.out
    content = run.predictions_path.read_bytes()
    run.predictions_path.write_bytes(content + b"\0")
    changed = harness("verify", "mean_pose", "--results", results)
    run.predictions_path.write_bytes(content)
    assert changed.code == 5 and "predictions" in changed.out
    assert harness("verify", "--results", results).code == 0


def test_tables_of_every_form_hold_the_values_of_the_records(harness, results: Path) -> None:
    value = stored(results, "mean_pose").record.table.groups()["Total"]
    for style in ("table", "markdown", "latex"):
        assert f"{value:.1f}" in harness("table", "--results", results, "--format", style).out
    found = json.loads(harness("table", "--results", results, "--format", "json").out)
    rows = {row["method"]: row for section in found["sections"] for row in section["rows"]}
    assert rows["mean_pose"]["Mean"] == value
    assert repr(value) in harness("table", "--results", results, "--format", "csv").out


def test_runs_are_listed_shown_and_named_by_their_start(harness, results: Path) -> None:
    listed = json.loads(harness("runs", "list", "--results", results, "--format", "json").out)
    assert len(listed) == 2
    shown = harness("runs", "show", listed[0]["run"][:-3], "--results", results)
    assert shown.code == 0 and "left wrist" in shown.out
    assert harness("runs", "show", "hrrnet", "--results", results).code == 2


def test_compare_of_a_run_with_itself_shows_nothing(harness, results: Path) -> None:
    answer = harness("compare", "hrnet", "hrnet", "--results", results, "--format", "json", "--gate")
    rows = json.loads(answer.out)["rows"]
    assert answer.code == 0
    assert {row["verdict"] for row in rows} == {"not shown"}
    assert all(row["difference"] in (0, None) for row in rows)


def test_exported_submission_scores_as_the_record(harness, results: Path, tmp_path: Path, smoke_val: Path) -> None:
    assert harness("export", "mean_pose", "-o", tmp_path / "out", "--results", results).code == 0
    truth = smoke_val / "posetrack_data" / "val"
    answer = harness("score", "--truth", truth, "--predictions", tmp_path / "out", "--format", "json")
    record = stored(results, "mean_pose").record
    assert json.loads(answer.out)["ap"]["total"] == pytest.approx(record.table.value("ap"), abs=1e-9)


def test_predict_writes_what_eval_scores(harness, results: Path, tmp_path: Path) -> None:
    answer = harness("predict", *RANDOM, "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    again = read_parquet(tmp_path / "out" / "predictions.parquet")
    kept = read_parquet(stored(results, "hrnet").predictions_path)
    assert np.array_equal(again.joints, kept.joints, equal_nan=True)
    assert len(list((tmp_path / "out" / "posetrack18").glob("*.json"))) == 2


def test_predict_never_writes_over_predictions(harness, smoke_val: Path, tmp_path: Path) -> None:
    words = ("predict", "--method", "mean_pose", "--dataset", "synthtrack-smoke", "-o", tmp_path, "--overwrite")
    assert harness(*words, "never").code == 0
    path = tmp_path / "predictions.parquet"
    path.write_bytes(b"kept")
    answer = harness(*words, "never")
    assert answer.code == 2 and f"{path} is there already; another -o, or --overwrite always" in answer.err
    assert path.read_bytes() == b"kept"
    assert harness(*words, "missing").code == 0 and path.read_bytes() != b"kept"


def test_a_killed_run_continues_and_ends_the_same(results: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "eval", *RANDOM, "--no-floor", "--no-plots", "--results", str(tmp_path)]
    place = tmp_path / "synthtrack-smoke" / "val" / stored(results, "hrnet").folder.name
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(place.glob("unfinished/0*")) and running.poll() is None:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert subprocess.run(command, capture_output=True, env=os.environ.copy()).returncode == 0
    whole, resumed = stored(results, "hrnet"), Results(tmp_path).one("hrnet")
    assert resumed.predictions_path.read_bytes() == whole.predictions_path.read_bytes()
    assert resumed.record.scores == whole.record.scores
    assert not (place / "unfinished").exists()
