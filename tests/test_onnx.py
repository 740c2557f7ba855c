"""A user's ONNX model runs by a TOML card: joints by name, layouts, and messages that say what does not fit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_file import convolution_file
from torch.nn.functional import conv2d

from baselines.onnx import OnnxNetwork, read_card
from harness.boxes import boxes_from_truth
from harness.datasets import open_dataset
from harness.errors import UsageError, WeightsError
from harness.inference import load_method, predict
from harness.skeletons import POSETRACK17

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

JOINTS = list(POSETRACK17.names)
CARD = """\
name = "mine"
title = "My model"
model = "mine.onnx"
input = [96, 128]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
codec = "heatmap"
joints = {joints}
support = {support}
"""


def write(
    folder: Path, weight: np.ndarray, *, joints: list[str] = JOINTS, support: tuple[int, ...] = (0,), more: str = "",
    batch: int | str = "batch",
) -> Path:  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "mine.onnx").write_bytes(convolution_file(weight, stride=4, size=(96, 128), batch=batch))
    path = folder / "mine.toml"
    quoted = "[" + ", ".join(f'"{name}"' for name in joints) + "]"
    path.write_text(CARD.format(joints=quoted, support=list(support)) + more)
    return path


def weights_of(joints: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((joints, channels, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(("support", "layout"), [((0,), "image"), ((0, -1, 1), "channels")])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_outputs_are_those_of_the_network(tmp_path, support, layout, batch) -> None:
    weight = weights_of(17, 3 * len(support))
    path = write(tmp_path, weight, support=support, more=f'layout = "{layout}"', batch=batch)
    ready = load_method("onnx", weights=path)
    clips = torch.randn((2, len(support), 3, 128, 96), generator=torch.Generator().manual_seed(2))
    expected = conv2d(clips.flatten(1, 2), torch.from_numpy(weight), stride=4)
    torch.testing.assert_close(ready.method.module(clips), expected, rtol=1e-4, atol=1e-4)
    assert (ready.method.preset_name, ready.method.preset.support) == ("mine", support)
    assert ready.weights.path == tmp_path / "mine.onnx"


def test_joints_are_matched_by_name_and_the_others_absent(tmp_path, smoke_val) -> None:
    """The same network with its outputs in another order, and one that knows five joints alone."""
    dataset = open_dataset("synthtrack-smoke", "val")
    weight, order = weights_of(17), np.random.default_rng(3).permutation(17)
    cases = {"in_order": range(17), "mixed": order, "some": order[:5]}
    found = {}
    for name, chosen in cases.items():
        path = write(tmp_path / name, weight[list(chosen)], joints=[JOINTS[place] for place in chosen])
        found[name] = predict(load_method("onnx", weights=path).method, dataset, boxes_from_truth(dataset))[0]
    np.testing.assert_allclose(found["mixed"].joints, found["in_order"].joints, atol=1e-4)
    assert found["mixed"].joints[:, 0].std() > 1
    some, known = found["some"], np.isin(np.arange(17), order[:5])
    skeleton = dataset.skeleton.names
    present = np.array([name in {JOINTS[place] for place in order[:5]} for name in skeleton])
    assert known.sum() == present.sum() == 5
    assert (some.present == present).all()
    np.testing.assert_allclose(some.joints[:, present], found["in_order"].joints[:, present], atol=1e-4)


def test_it_is_evaluated_from_the_command_line_and_a_changed_card_is_another_run(harness, tmp_path, smoke_val) -> None:
    path = write(tmp_path, weights_of(17))
    words = (
        "eval", "--method", "onnx", "--weights", path, "--dataset", "synthtrack-smoke", "--no-floor", "--no-plots",
        "--results", tmp_path / "results", "--device", "cpu",
    )  # fmt: skip
    first = harness(*words)
    assert first.code == 0, first.err
    assert "My model" in first.out
    assert "answered from the store" in harness(*words).err
    path.write_text(path.read_text().replace("0.25, 0.25, 0.25", "0.5, 0.5, 0.5"))
    assert "done" in harness(*words).err
    assert len(list((tmp_path / "results").rglob("record.json"))) == 2
    answer = harness("eval", "--method", "onnx", "--dataset", "synthtrack-smoke", "--results", tmp_path / "results")
    assert answer.code == 2
    assert "--weights FILE.toml" in answer.err
    assert "codec = " in harness("methods", "show", "onnx").out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("mine.onnx", "other.onnx"), r"there is no .*other\.onnx"),
        (('codec = "heatmap"', 'codec = "heatmaps"'), "codec = 'heatmaps' is not what is expected"),
        (("input = [96, 128]", "input = [192, 256]"), r"batch, 3, 256, 192\); mine\.onnx has .*128, 96"),
        (('"nose"', '"left_ear"'), "different names"),
        (("support = [0]", "support = [0, 1]"), "layout = 'image' is not what is expected"),
        (('title = "My model"', 'titel = "My model"'), "titel: unknown field"),
        (("std = [0.25, 0.25, 0.25]", ""), "std: missing"),
        (("support = [0]", 'support = [0]\noutputs = ["maps"]'), "outputs has 'maps'; mine.onnx has heatmaps"),
        (("support = [0]", "support = [0"), "not valid TOML"),
    ],
    ids=["model", "codec", "input", "joints", "layout", "unknown", "missing", "outputs", "syntax"],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, change, message) -> None:
    path = write(tmp_path, weights_of(17))
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(WeightsError, match=message):
        load_method("onnx", weights=path)


def test_a_file_that_is_no_model_is_refused(tmp_path) -> None:
    path = write(tmp_path, weights_of(17))
    (tmp_path / "mine.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match=r"mine\.onnx: not a model"):
        load_method("onnx", weights=path)
    with pytest.raises(WeightsError, match="give --weights a card"):
        read_card(tmp_path / "mine.onnx")
    with pytest.raises(WeightsError, match="No such file"):
        read_card(tmp_path / "none.toml")


def test_batches_a_model_does_not_take_are_refused(tmp_path) -> None:
    module = load_method("onnx", weights=write(tmp_path, weights_of(17), batch=2)).method.module
    assert isinstance(module, OnnxNetwork)
    assert len(module(torch.zeros(4, 1, 3, 128, 96))) == 4
    with pytest.raises(UsageError, match="exported for batches of 2"):
        module(torch.zeros(3, 1, 3, 128, 96))


def test_without_onnxruntime_it_says_what_to_install(tmp_path) -> None:
    path = write(tmp_path, weights_of(17))
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from harness.cli import run\n"
        f"sys.exit(run(['eval', '--method', 'onnx', '--dataset', 'synthtrack-smoke', '--weights', {str(path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'vidpose-harness[onnx]'" in done.stderr
