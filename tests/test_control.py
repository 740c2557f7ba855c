"""The control of a video method: its own backbone in the same run, as a run of its own."""

import json

import pytest
import torch

from harness.errors import UsageError
from harness.inference import load_method
from harness.methods import methods
from harness.weights import save


def saved(name: str, path, *, seed: int = 3) -> torch.nn.Module:
    torch.manual_seed(seed)
    module = methods[name].build(methods[name].presets["tiny"].options).eval()
    save(module, path)
    return module


def test_it_is_the_backbone_on_the_key_frame(tmp_path) -> None:
    module = saved("fami", tmp_path / "fami.safetensors")
    ready = load_method("fami", weights=tmp_path / "fami.safetensors", outputs="backbone")
    clips = torch.randn((1, 5, 3, 128, 96), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = module(clips, states=True).backbone
        torch.testing.assert_close(ready.method.module(clips[:, :1]), expected, rtol=1e-4, atol=1e-4)
    assert ready.method.preset.support == (0,)


@pytest.mark.parametrize("name", ["hrnet", "fami_simcc"])
def test_a_method_without_heatmaps_of_a_backbone_is_refused(tmp_path, name: str) -> None:
    saved(name, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="has no backbone whose heatmaps"):
        load_method(name, weights=tmp_path / "weights.safetensors", outputs="backbone")


def test_it_is_stored_beside_its_method(harness, tmp_path, smoke_val) -> None:
    """HMTA starts as its backbone, so untrained both find the same."""
    saved("hmta", tmp_path / "hmta.safetensors")
    answer = harness(
        "eval", "--method", "hmta", "--weights", tmp_path / "hmta.safetensors", "--dataset", "synthtrack-smoke",
        "--also", "backbone", "--no-floor", "--no-plots", "--device", "cpu", "--results", tmp_path / "results",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "outputs backbone" in answer.out
    records = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("record.json")]
    assert len({record["id"] for record in records}) == 2
    control, whole = sorted(records, key=lambda record: len(record["inference"]["support"]))
    assert (control["request"], whole["request"]) == ({"outputs": "backbone"}, {})
    assert control["weights"] == whole["weights"]
    assert control["cost"]["parameters"] < whole["cost"]["parameters"]
    assert control["inference"]["support"] == [0]
    for one, other in zip(control["scores"], whole["scores"], strict=True):
        assert one.get("value") == pytest.approx(other.get("value"), abs=1e-3)
