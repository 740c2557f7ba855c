"""`train --codec`: any network of maps learns to be read by another codec, and its weights say so."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.datasets import open_dataset
from harness.errors import UsageError
from harness.inference import load_method
from harness.methods import CropSpec, MethodCard, Preset, methods
from harness.training import Augmentation, Recipe, train
from harness.training.reading import learned_as
from harness.weights import save

SMOKE = ("--dataset", "synthtrack-smoke")
#: A preset whose maps are no logits, as the papers' are not.
PRESET = Preset(CropSpec((24, 32)), "heatmap", codec_options={"sigma": 2.0})
CARD = MethodCard(
    "small", "Small", "for tests", {"test": PRESET}, lambda options: torch.nn.Sequential(Key(), Maps()), "test"
)
RECIPE = Recipe(batch_size=4, held_out=0.2, minimum_joints=3, augmentation=Augmentation(0, 0, 0, 0, 0, 0))


class Key(torch.nn.Module):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips[:, 0]


class Maps(torch.nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 17, 5, stride=4, padding=2)


@pytest.mark.parametrize("method", ["simple_baseline", "vitpose", "spatial_transformer", "dcpose"])
def test_a_network_of_maps_learns_to_be_read_by_dsnt(harness, own_cache, tmp_path: Path, method: str) -> None:
    words = ["train", "--method", method, *SMOKE, "--steps", "2", "--batch-size", "4", "--threads", "1"]
    done = harness(*words, "--codec", "dsnt", "--loss", "dsnt_js", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "--codec dsnt" in done.err
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["codec"] == "dsnt" and record["recipe"]["loss"] == "dsnt_js" and "'dsnt'" in record["preset_content"]
    other = harness(*words, "-o", tmp_path / "out")
    assert other.code == 2 and "preset_content, recipe differ" in other.err
    if method != "simple_baseline":
        return
    run = ["eval", "--method", method, *SMOKE, "--weights", tmp_path / "out" / "last.safetensors", "--no-floor",
           "--no-plots", "--limit", "1", "--results", tmp_path / "results"]  # fmt: skip
    for codec, said in (((), True), (("--codec", "dsnt"), False)):
        answer = harness(*run, *codec)
        assert answer.code == 0, answer.err
        assert ("learned to be read by codec 'dsnt'; --codec dsnt does" in answer.err) == said
    used = [json.loads(path.read_text())["inference"] for path in (tmp_path / "results").rglob("record.json")]
    found = {item["codec"]: item["codec_options"] for item in used}
    assert found["dsnt"] == {"sigma": 1.5, "activation": "softmax", "geometry": "plain"} and set(found) >= {"heatmap"}


def test_what_was_learned_as_logits_is_read_as_logits(smoke_val: Path, tmp_path: Path) -> None:
    """Maps of peak 1 are read as what they are, by the same codec: the weights tell."""
    data = open_dataset("synthtrack-smoke", "val", root=smoke_val)
    recipe = replace(RECIPE, loss="dsnt_js")
    done = train(CARD, None, data, out=tmp_path / "out", steps=1, recipe=recipe, codec="dsnt", threads=1)
    learned = load_method(CARD, weights=done.weights, codec="dsnt")
    assert learned.method.codec.activation == "softmax" and learned.weights.codec == "dsnt"
    assert load_method(CARD, weights=done.weights).method.preset == PRESET
    assert load_method(CARD, weights=done.weights, codec="dark").method.codec.activation == "softmax"
    save(load_file(done.weights), tmp_path / "usual.safetensors", about={"name": "usual"})
    assert load_method(CARD, weights=tmp_path / "usual.safetensors", codec="dsnt").method.codec.activation == "none"


@pytest.mark.parametrize("said", ["no JSON", "[1]", '{"codec": 3}', '{"codec": "dsnt", "activation": "tanh"}'])
def test_weights_that_say_nonsense_of_their_codec_are_read_as_usual(tmp_path: Path, said: str) -> None:
    state = {key: value.contiguous() for key, value in CARD.build({}).state_dict().items()}
    save_file(state, tmp_path / "odd.safetensors", metadata={"vidpose-harness": said})
    assert load_method(CARD, weights=tmp_path / "odd.safetensors", codec="dsnt").method.codec.activation == "none"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "simcc", "--codec", "dsnt"), "does not read vectors"),
        (("--method", "dekr", "--codec", "dsnt"), "takes whole frames"),
        (("--method", "mean_pose", "--codec", "dsnt"), "is fitted to labels"),
        (("--method", "hrnet", "--codec", "dsnt", "--loss", "joint_mse"), "take --loss dsnt_js"),
        (("--method", "hrnet", "--codec", "dsmt"), "did you mean 'dsnt'"),
    ],
)
def test_what_cannot_be_read_so_is_refused(harness, own_cache, tmp_path: Path, words, said: str) -> None:
    answer = harness("train", *words, *SMOKE, "--steps", "1", "-o", tmp_path / "none")
    assert answer.code == 2 and said in answer.err and len(answer.err.strip().splitlines()) == 1, answer.err
    assert not (tmp_path / "none").exists()


def test_how_cells_lie_on_the_input_and_sigma_stay() -> None:
    preset = methods["vitpose"].presets["b-256x192"]
    read = learned_as(preset, "dsnt", loss="dsnt_js")
    assert read.codec_options == {"sigma": 2.0, "geometry": "udp", "activation": "softmax"}
    assert learned_as(preset, "dark", loss="joint_mse").codec_options["activation"] == "none"
    assert learned_as(preset, "udp", loss="joint_mse") == preset
    with pytest.raises(UsageError, match="does not read coordinates"):
        learned_as(replace(preset, codec="coordinates", codec_options={}), "dsnt", loss="dsnt_js")
