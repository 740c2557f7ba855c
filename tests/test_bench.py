"""harness bench: operations against hand counts and published ones, and a record whose stages add up."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.boxes import boxes_from_truth
from harness.datasets import open_dataset
from harness.errors import DataError
from harness.inference import RANDOM, load_method
from harness.inference.bench import _limiting, measure
from harness.inference.flops import multiply_adds, multiply_adds_of_layers
from harness.inference.settings import Settings
from harness.methods import methods


def test_operations_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1), nn.ConvTranspose2d(8, 2, 4, 2, 1))
    # 8 x 8 -> 4 x 4: 16 cells x 8 channels x 27; then 16 input cells x 8 x 2 channels x 16 taps
    expected = 16 * 8 * 27 + 16 * 8 * 2 * 16
    assert multiply_adds_of_layers(network, torch.zeros(1, 3, 8, 8)) == expected
    assert multiply_adds(network, torch.zeros(1, 3, 8, 8)) == expected
    assert multiply_adds_of_layers(nn.Linear(5, 7), torch.zeros(2, 5)) == 2 * 5 * 7


@pytest.mark.parametrize(("preset", "published"), [("w32-256x192", 7.1), ("w48-256x192", 14.6)])
def test_operations_of_hrnet_are_the_published_ones(preset, published):
    card = methods["hrnet"]
    chosen = card.presets[preset]
    width, height = chosen.crop.size
    counted = multiply_adds_of_layers(card.build(chosen.options).eval(), torch.zeros(1, 1, 3, height, width))
    # Published in units of 2^30 (hrnet.md section 6): 7.645e9 are "7.1 G".
    assert round(counted / 2**30, 1) == published


def test_limiting_stage_and_advice():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    quick = {"wait": 0.1, "sample": 0.0, "forward": 5.0, "decode": 0.2, "write": 0.0, "rest": 0.0}
    assert _limiting(quick, 5.0, Settings(fold=False), cpu) == ("forward", "--fold")
    assert _limiting(quick, 5.0, Settings(fold=True), cuda) == ("forward", "--precision bf16")
    starved = {**quick, "wait": 4.0}
    stage, advice = _limiting(starved, 5.0, Settings(fold=True), cuda)
    assert stage == "wait" and "--crop-path device" in advice


def test_bench_prints_a_table_and_writes_a_record(harness, smoke_val, tmp_path):
    common = ("--dataset", "synthtrack-smoke", "--repeat", 1, "--batch-size", 4, "--results", tmp_path)
    answer = harness("bench", "--method", "hrnet", "--weights", "random", *common)
    assert answer.code == 0 and "hrnet (tiny)" in answer.out
    record = json.loads((tmp_path / "bench" / "hrnet-tiny-cpu-fp32.json").read_text())
    assert sum(record["stages"].values()) == pytest.approx(1 / record["end_to_end"], rel=1e-3)
    assert record["ratio"] == pytest.approx(record["end_to_end"] / record["forward_only"])
    assert record["parameters"] > 1e5 and record["peak_memory"] > 1e7 and record["advice"]
    assert record["environment"]["packages"]["torch"]


def test_the_clips_of_a_whole_frame_method_are_frames(harness, smoke_val, tmp_path):
    data = ("--dataset", "synthtrack-smoke", "--data-root", smoke_val, "--split", "val", "--device", "cpu")
    asked = ("--limit", "1", "--repeat", "1", "--format", "json", "--results", tmp_path)
    answer = harness("bench", "--method", "dekr", *data, *asked)
    assert answer.code == 0, answer.err
    (row,) = json.loads(answer.out)
    sequence = open_dataset("synthtrack-smoke", "val", root=smoke_val).sequences[0]
    assert row["clips"] == len({*sequence.truth.frame.tolist()}) < len(sequence.truth)


@pytest.mark.parametrize(("name", "preset"), [("hrnet", None), ("dcpose_adaptive", "tiny-recurrent")])
def test_nobody_to_look_at_is_said(smoke_val, name, preset):
    data = open_dataset("synthtrack-smoke", "val")
    ready = load_method(name, preset=preset, weights=RANDOM)
    nobody = boxes_from_truth(replace(data, sequences=()))
    with pytest.raises(DataError, match="nobody to look at in these sequences; take another --split or --limit"):
        measure(ready, data, nobody, settings=Settings(device="cpu"), repeat=1)
