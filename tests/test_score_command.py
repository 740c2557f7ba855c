"""harness score on a golden set: every object of its JSON, its tables, and the cross-check with the poseval package."""

import gzip
import json
import math
from pathlib import Path

import pytest

SMALL = Path(__file__).parent / "data" / "poseval" / "small"
FILES = ("--truth", SMALL / "gt", "--predictions", SMALL / "pred")


def expected(name: str) -> dict:
    path = next(SMALL.glob(f"{name}.json*"))
    return json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())


def answered(harness, *words: object) -> dict:
    answer = harness("score", *FILES, "--format", "json", *words)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_average_precision_and_tracking_in_every_bit(harness) -> None:
    found, wanted = answered(harness), expected("expected_poseval_head")
    for name, key in (("ap", "ap"), ("precision", "pre"), ("recall", "rec")):
        assert list(found[name].values()) == wanted["AP"][key]
        assert len(found[name]) == 16 and list(found[name])[-1] == "total"
    assert list(found["mot"]["mota"].values()) == wanted["MOT"]["mota"]
    assert list(found["groups"]) == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Total"]


def test_the_other_protocols_beside_it(harness) -> None:
    found = answered(
        harness, "--protocol", "poseval", "--protocol", "posetrack21", "--protocol", "oks", "--protocol", "pck"
    )
    kit = expected("expected_pt21")
    total = kit["HOTA"]["combined_mean_over_alpha"]["HOTA"][-1] * 100
    assert found["hota"]["hota"]["total"] == pytest.approx(total, rel=1e-12)
    assert found["ap"]["total"] == expected("expected_poseval_head")["AP"]["ap"][-1]
    assert set(found["pck"]) >= {"pckh", "epe_head"} and found["oks"]


def test_people_rank_by_their_joints_or_by_their_own_score(harness, tmp_path: Path) -> None:
    for file in (SMALL / "pred").iterdir():
        packed = file.suffix == ".gz"
        content = json.loads(gzip.decompress(file.read_bytes()) if packed else file.read_bytes())
        for row, person in enumerate(content["annotations"]):
            person["score"] = 1 / (2 + row % 7)
        (tmp_path / file.name.removesuffix(".gz")).write_text(json.dumps(content))
    found = {}
    for chosen in ("joints", "person"):
        asked = ("--predictions", tmp_path, "--protocol", "oks", "--oks-rank-by", chosen, "--format", "json")
        answer = harness("score", "--truth", SMALL / "gt", *asked)
        assert answer.code == 0, answer.err
        found[chosen] = json.loads(answer.out)
        assert found[chosen]["facts"]["oks"]["person_score"] == chosen
    assert found["joints"]["oks"]["ap"] == answered(harness, "--protocol", "oks")["oks"]["ap"]
    assert found["person"]["oks"]["ap"] != found["joints"]["oks"]["ap"]


def test_slices_sequences_and_diagnosis(harness) -> None:
    found = answered(harness, "--slice", "speed", "--per-sequence", "--diagnose", "--intervals")
    assert {"speed:slow", "speed:medium", "speed:fast"} <= set(found["slices"])
    bins = [found["slices"][f"speed:{name}"]["items"] for name in ("slow", "medium", "fast", "unknown")]
    labelled = expected("expected_poseval_head")["counts"]["n_gt"]
    assert [sum(items[joint] for items in bins) for joint in list(found["ap"])[:-1]] == labelled
    wanted = expected("expected_poseval_head")["per_sequence"]
    for sequence, values in found["sequences"].items():
        assert list(values["ap"].values()) == [None if math.isnan(v) else v for v in wanted[sequence]["AP"]["ap"]]
    classes = [found["diagnosis"][f"pckh_{name}"]["total"] for name in
               ("good", "jitter", "inversion", "swap", "miss", "absent", "undetected")]  # fmt: skip
    assert sum(classes) == pytest.approx(100)


def test_tables_of_every_style(harness) -> None:
    total = f"{expected('expected_poseval_head')['AP']['ap'][-1]:.1f}"
    for style in ("table", "markdown", "latex"):
        assert total in harness("score", *FILES, "--format", style).out
    assert repr(expected("expected_poseval_head")["AP"]["ap"][-1]) in harness("score", *FILES, "--format", "csv").out


def test_unknown_slice_protocol_and_missing_package(harness) -> None:
    assert "did you mean 'speed'" in harness("score", *FILES, "--slice", "sped").err
    assert "did you mean 'poseval'" in harness("score", *FILES, "--protocol", "posevall").err
    answer = harness("score", *FILES, "--cross-check", "poseval")
    assert answer.code == 2 and "vidpose-harness[poseval]" in answer.err


def test_cross_check_with_a_stand_in_for_the_package(harness, tmp_path: Path, monkeypatch) -> None:
    values = expected("expected_poseval_head")["AP"]
    package = tmp_path / "poseval"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "eval_helpers.py").write_text("def load_data_dir(arguments):\n    return [], []\n")

    def answer_with(columns: list) -> None:
        (package / "evaluateAP.py").write_text(
            f"import numpy as np\nnan = float('nan')\n"
            f"def evaluateAP(truth, predictions, folder, save_all, save_sequences):\n"
            f"    return [np.array(column).reshape(16, 1) for column in {columns!r}]\n"
        )

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    answer_with([values["ap"], values["pre"], values["rec"]])
    assert "all 48 values equal" in harness("score", *FILES, "--cross-check", "poseval").err
    answer_with([[value + 0.25 for value in values["ap"]], values["pre"], values["rec"]])
    differing = harness("score", *FILES, "--cross-check", "poseval")
    assert differing.code == 5 and "differs in 16 of 48" in differing.err


def test_a_cross_check_that_cannot_be_made_is_said_first(harness) -> None:
    answer = harness("score", *FILES, "--protocol", "oks", "--cross-check", "poseval")
    assert answer.code == 2 and not answer.out and "--protocol poseval" in answer.err
