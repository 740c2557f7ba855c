"""The command line: help without torch, names with suggestions, and the exit code of every kind of user error."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import torch
from safetensors.torch import save_file

from harness.cli import VERBS, cli
from harness.cli.output import write_rows

SMOKE = ("--dataset", "synthtrack-smoke")


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    "words", [["--help"], *([verb, "--help"] for verb in VERBS if verb not in ("methods", "train"))]
)
def test_help_imports_no_torch(words: list[str]) -> None:
    modules = loaded_after(f"from harness.cli import run\nassert run({words!r}) == 0")
    assert not modules & {"torch", "matplotlib.pyplot", "pandas"}


def test_every_verb_is_listed_and_described(harness) -> None:
    answer = harness("--help")
    for verb in VERBS:
        command = cli.get_command(None, verb)
        assert command is not None
        assert verb in answer.out
        assert (command.help or "").split("\n")[0].strip(), verb


def test_score_table_and_verify_need_no_torch() -> None:
    modules = loaded_after(
        "import harness.cli.score, harness.cli.table, harness.cli.verify, harness.reopen, harness.report"
    )
    assert "torch" not in modules


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["evla"], 2, "did you mean 'eval'"),
        (["eval", "--method", "hrnett"], 2, "did you mean 'hrnet'"),
        (["eval", "--method", "hrnet", "--dataset", "sinthtrack"], 2, "did you mean 'synthtrack'"),
        (["eval", "--method", "hrnet", "--preset", "huge", *SMOKE], 2, "it has tiny"),
        (["eval", "--method", "hrnet", "--split", "vall", *SMOKE], 2, "has no split 'vall'"),
        (["eval"], 2, "--method"),
        (["methods", "show", "hrnt"], 2, "did you mean 'hrnet'"),
        (["score", "--truth", ".", "--predictions", "."], 3, "label files"),
        (["eval", "--method", "hrnet", "--dataset", "posetrack18"], 3, "--data-root"),
        (["eval", "--method", "hrnet", "--dataset", "posetrack18", "--data-root", "/nowhere"], 3, "/nowhere"),
        (["eval", "--method", "hrnet", "--weights", "missing.safetensors", *SMOKE], 4, "missing.safetensors"),
        (["eval", "--method", "hrnet", "--preset", "w32-256x192", *SMOKE], 4, "--weights"),
        (["table", "--results", "/nowhere"], 2, "holds no runs"),
        (["eval", "--method", "hrnet", "--weights", "random", "--device", "tpu", *SMOKE], 2, "tpu"),
        (["data", "make", "posetrack17"], 2, "cannot be made"),
    ],
)
def test_user_errors(harness, tmp_path: Path, monkeypatch, words: list[str], code: int, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    answer = harness(*words)
    assert answer.code == code, answer.err
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.strip().splitlines()) <= 4  # click adds two lines of usage


@pytest.fixture
def copied(smoke_val: Path, tmp_path: Path) -> Path:
    return shutil.copytree(smoke_val, tmp_path / "data")


def evaluate(harness, root: Path, *more: object):
    return harness(
        "eval", "--method", "hrnet", "--weights", "random", "--no-floor", "--no-plots", "--dataset", "posetrack21",
        "--data-root", root, "--results", root.parent / "results", *more,
    )  # fmt: skip


def test_broken_label_file(harness, copied: Path) -> None:
    label = sorted((copied / "posetrack_data" / "val").glob("*.json"))[0]
    label.write_bytes(label.read_bytes()[:-40])
    answer = evaluate(harness, copied)
    assert answer.code == 3 and label.name in answer.err and len(answer.err.splitlines()) <= 2


def test_truncated_jpeg(harness, copied: Path) -> None:
    image = sorted((copied / "images" / "val").glob("*/*.jpg"))[2]
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    answer = evaluate(harness, copied)
    assert answer.code == 3 and image.name in answer.err and len(answer.err.splitlines()) <= 2


def test_missing_images_are_named_before_inference_and_left_out_on_request(harness, copied: Path) -> None:
    folder = sorted((copied / "images" / "val").iterdir())[0]
    shutil.rmtree(folder)
    refused = evaluate(harness, copied)
    assert refused.code == 3 and folder.name in refused.err and "--allow-missing-frames" in refused.err
    allowed = evaluate(harness, copied, "--allow-missing-frames")
    assert allowed.code == 0 and "partial, not comparable" in allowed.out


def test_whole_frame_runs_of_other_sequences_are_other_runs(harness, copied: Path) -> None:
    """They have no boxes by whose hash they could be told apart."""
    images, aside, found = copied / "images" / "val", copied.parent / "aside", []
    data = ("--dataset", "posetrack21", "--data-root", copied, "--device", "cpu", "--allow-missing-frames")
    for folder in sorted(images.iterdir()):
        shutil.move(folder, aside)
        answer = harness(
            "eval", "--method", "dekr", *data, "--no-plots", "--no-floor", "--results", copied.parent / "r"
        )
        assert answer.code == 0 and ": done" in answer.err, answer.err
        found.append(answer.out)
        shutil.move(aside, folder)
    assert len(set(found)) == len(found) == 2


def test_a_partial_run_is_no_match_for_a_whole_one(harness, copied: Path) -> None:
    """Runs on whole frames stand on one ground whatever their sequences."""
    data = ("--dataset", "posetrack21", "--data-root", copied, "--device", "cpu", "--no-plots", "--no-floor")
    results = copied.parent / "results"
    for limit in ((), ("--limit", "1")):
        assert harness("eval", "--method", "dekr", *data, *limit, "--results", results).code == 0
    whole, part = sorted(results.glob("*/*/*/record.json"), key=lambda path: '"partial": null' not in path.read_text())
    answer = harness("table", "--against", whole.parent.name, "--results", results, "--data-root", copied)
    left_out = f"left out, of other sequences than {whole.parent.name}: {part.parent.name}"
    assert answer.code == 2 and left_out in answer.err


def test_sequences_in_which_nobody_is_labelled(harness, copied: Path) -> None:
    labels = sorted((copied / "posetrack_data" / "val").glob("*.json"))
    data = ("--dataset", "posetrack21", "--data-root", copied, "--device", "cpu", "--no-plots", "--no-floor")
    results = copied.parent / "results"
    for path, code in zip(labels, (0, 3), strict=True):
        document = json.loads(path.read_text())
        for image in document["images"]:
            image["is_labeled"] = code == 3  # first without labelled frames, then with labels of nobody
        path.write_text(json.dumps({**document, "annotations": []}))
        answer = harness("eval", "--method", "dekr", *data, "--results", results)
        assert answer.code == code, answer.err
    assert "nobody is labelled in the 2 sequences" in answer.err
    assert len(list(results.glob("*/*/*"))) == 1, "told before anything ran"


def test_image_path_that_leaves_the_data_root(harness, copied: Path) -> None:
    label = sorted((copied / "posetrack_data" / "val").glob("*.json"))[0]
    document = json.loads(label.read_text())
    (copied.parent / "000000.jpg").write_bytes(sorted((copied / "images" / "val").glob("*/*.jpg"))[0].read_bytes())
    document["images"][0]["file_name"] = "../000000.jpg"
    label.write_text(json.dumps(document))
    answer = evaluate(harness, copied)
    assert answer.code == 3 and "leaves the data root" in answer.err, answer.err


def test_checkpoint_that_does_not_fit(harness, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"conv1.weight": torch.zeros(3, 3)}, path)
    answer = harness("eval", "--method", "hrnet", "--weights", path, *SMOKE, "--results", tmp_path)
    assert answer.code == 4 and "odd.safetensors" in answer.err and len(answer.err.splitlines()) <= 2


def test_predictions_that_match_no_frame(harness, smoke_val: Path, tmp_path: Path) -> None:
    truth = smoke_val / "posetrack_data" / "val"
    for label in truth.glob("*.json"):
        document = json.loads(label.read_text())
        for number, image in enumerate(document["images"]):
            image.update(id=990000 + number, file_name=f"images/other/999999_mpii_test/{number:06d}.jpg")
        document["annotations"] = [
            {**row, "image_id": 990000, "scores": [0.5] * 17, "track_id": number}
            for number, row in enumerate(document["annotations"])
        ]
        (tmp_path / label.name).write_text(json.dumps(document))
    answer = harness("score", "--truth", truth, "--predictions", tmp_path)
    assert answer.code == 3 and len(answer.err.strip().splitlines()) <= 2, answer.err


def test_truth_scored_as_predictions_reaches_what_the_rules_allow(harness, smoke_val: Path, tmp_path: Path) -> None:
    truth = smoke_val / "posetrack_data" / "val"
    for label in truth.glob("*.json"):
        document = json.loads(label.read_text())
        for row in document["annotations"]:
            row["scores"] = [1.0] * 17
        (tmp_path / label.name).write_text(json.dumps(document))
    answer = harness("score", "--truth", truth, "--predictions", tmp_path, "--format", "json")
    found = orjson.loads(answer.out)
    assert answer.code == 0
    assert set(found) >= {"ap", "precision", "recall", "groups"}
    assert all(value == 100 for value in found["recall"].values())
    assert list(found["groups"]) == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Total"]
    assert found["groups"]["Total"] == pytest.approx(100)


def test_harness_toml_beside_the_data_sets_defaults(harness, copied: Path) -> None:
    (copied / "harness.toml").write_text("[eval]\nlimit = 1\n")
    answer = evaluate(harness, copied)
    assert "first 1 of" in answer.out
    assert "first" not in evaluate(harness, copied, "--limit", "2").out
    (copied / "harness.toml").write_text("[eval]\nlimmit = 1\n")
    assert evaluate(harness, copied).code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("export = 3", "expected a table"),
        ("export = []", "expected a table"),
        ("[export]\nfill_missing = [1]", "fill_missing is [1]"),
        ("[export]\nsplit = {a = 1}", "split is {'a': 1}"),
        ("[export]\noutput = 5\nsplit = 7", "no split '7'"),
    ],
)
def test_a_harness_toml_of_wrong_kinds_is_named(harness, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "harness.toml").write_text(text)
    answer = harness("export", "--check", "x", "--dataset", "posetrack18", "--data-root", str(tmp_path))
    assert answer.code == 2 and message in answer.err


def test_environment_variables_mirror_options(harness, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_EVAL_METHOD", "hrnettt")
    assert "hrnettt" in harness("eval").err
    monkeypatch.setenv("HARNESS_RESULTS", str(tmp_path / "mine"))
    assert str(tmp_path / "mine") in harness("table").err


def test_interrupt_ends_with_130(harness, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.evaluate.evaluate_together", stop)
    answer = harness("eval", "--method", "mean_pose", *SMOKE)
    assert answer.code == 130 and "resumes" in answer.err


def test_the_floor_leaves_out_the_same_sequences(harness, copied: Path) -> None:
    shutil.rmtree(sorted((copied / "images" / "val").iterdir())[0])
    answer = harness(
        "eval", "--method", "hrnet", "--dataset", "posetrack21", "--data-root", copied, "--no-plots",
        "--allow-missing-frames", "--results", copied.parent / "results",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "groups of runs" not in answer.out and answer.out.count("†") >= 2
    checked = harness("verify", "--results", copied.parent / "results")
    assert checked.code == 0 and "not checked: data" in checked.out
    wrong = harness("verify", "--results", copied.parent / "results", "--data-root", copied.parent)
    assert wrong.code == 5 and "data: " in wrong.out and str(copied.parent) in wrong.out


def test_a_split_without_labels_is_refused_before_inference(harness, smoke_val: Path, tmp_path: Path) -> None:
    video = tmp_path / "images" / "test" / "000001_mpii_test"
    video.mkdir(parents=True)
    image = sorted((smoke_val / "images" / "val").glob("*/*.jpg"))[0]
    (video / "000000.jpg").write_bytes(image.read_bytes())
    boxes = tmp_path / "boxes.json"
    name = "images/test/000001_mpii_test/000000.jpg"
    boxes.write_text(json.dumps([{"bbox": [10, 10, 40, 80], "score": 0.9, "category_id": 1, "image_name": name}]))
    asked = ("--dataset", "posetrack18", "--data-root", tmp_path, "--split", "test", "--boxes", boxes)
    refused = harness("eval", "--method", "hrnet", *asked, "--results", tmp_path / "results")
    assert refused.code == 3 and "cannot be scored here; export a submission instead" in refused.err
    predicted = harness("predict", "--method", "hrnet", *asked, "-o", tmp_path / "out")
    assert predicted.code == 0, predicted.err


def test_markdown_cells_show_a_bar_as_it_is() -> None:
    rows = [{"name": "a|b", "value": 1}, {"name": None, "value": 0.5}]
    assert write_rows(rows, "markdown").splitlines()[2:] == [r"| a\|b   | 1       |", "|        | 0.5     |"]
    assert "a|b" in write_rows(rows, "table")
