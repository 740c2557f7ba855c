"""`--codec`: the same network read in another way, told apart in the store."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.predictions import read_parquet


def evaluate(harness, results: Path, *more: str):
    return harness(
        "eval", "--method", "hrnet", "--weights", "random", "--no-floor", "--no-plots", "--limit", "1",
        "--dataset", "synthtrack-smoke", "--results", results, *more,
    )  # fmt: skip


def test_codec_changes_the_reading_and_is_recorded(harness, tmp_path: Path) -> None:
    for codec in ((), ("--codec", "dark"), ("--codec", "dsnt")):
        answer = evaluate(harness, tmp_path, *codec)
        assert answer.code == 0, answer.err
    table = harness("table", "--results", tmp_path, "--format", "csv").out
    assert [f"HRNet (tiny), codec {codec}" in table for codec in ("dark", "dsnt", "heatmap")] == [True, True, False]
    runs = {}
    for path in tmp_path.rglob("record.json"):
        used = json.loads(path.read_text())["inference"]
        runs[used["codec"]] = used["codec_options"], read_parquet(next(path.parent.glob("*.parquet")))
    assert set(runs) == {"heatmap", "dark", "dsnt"}, "three runs, none taken for another"
    (plain_options, plain), (dark_options, dark) = runs["heatmap"], runs["dark"]
    assert dark_options == {**plain_options, "geometry": "plain"}
    np.testing.assert_array_equal(plain.scores, dark.scores)
    moved = np.linalg.norm(plain.joints - dark.joints, axis=-1)
    assert 0 < np.nanmean(moved) < 20


@pytest.mark.parametrize(("codec", "said"), [("simcc", "does not read maps"), ("drak", "did you mean 'dark'")])
def test_codec_that_does_not_fit_is_refused(harness, tmp_path: Path, codec: str, said: str) -> None:
    answer = evaluate(harness, tmp_path, "--codec", codec)
    assert answer.code == 2
    assert said in answer.err
    assert not list(tmp_path.rglob("record.json"))
