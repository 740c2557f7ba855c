"""The control of a video method: its own backbone in the same pass, as a run of its own."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_engine import boxes, data, method_of  # noqa: F401

from harness.errors import HarnessError, UsageError
from harness.inference import Asked, Settings, load_method, predict, predict_together
from harness.inference.control import backbone_of
from harness.methods import CropSpec, Preset, methods
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


def test_a_method_without_heatmaps_of_a_backbone_is_refused(tmp_path) -> None:
    saved("hrnet", tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="has no backbone whose heatmaps"):
        load_method("hrnet", weights=tmp_path / "weights.safetensors", outputs="backbone")


def test_the_backbone_below_other_outputs_is_read_as_maps(tmp_path) -> None:
    module = saved("fami_simcc", tmp_path / "weights.safetensors")
    control = load_method("fami_simcc", weights=tmp_path / "weights.safetensors", outputs="backbone").method
    clips = torch.randn((1, 5, 3, 128, 96), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        maps = control.module(clips[:, :1])
        torch.testing.assert_close(maps, module(clips, states=True).network.backbone, rtol=1e-4, atol=1e-4)
        assert control.codec.decode(maps).grid == (24, 32)
    assert (control.preset.codec, control.preset.codec_options["activation"]) == ("heatmap", "softmax")


class Ahead(torch.nn.Module):
    """A network of two frames that counts the passes of its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Conv2d(3, 17, 4, stride=4)
        self.passes = 0
        self.backbone.register_forward_hook(lambda *_: setattr(self, "passes", self.passes + 1))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.with_backbone(clips)[0]

    def with_backbone(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        before, key = self.backbone(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).unbind(1)
        return key - 0.5 * before, key


@pytest.fixture
def pair():
    torch.manual_seed(1)
    preset = Preset(CropSpec((48, 64)), "heatmap", support=(-1, 0), codec_options={"sigma": 1.5})
    method = method_of(Ahead().eval(), preset)
    return method, backbone_of(method)


@pytest.mark.parametrize("flip", [False, True])
def test_one_pass_answers_for_both(data, boxes, pair, flip) -> None:  # noqa: F811
    method, control = pair
    alone = [predict(each, data, boxes, flip=flip)[0] for each in pair]
    method.module.passes = 0
    asked = [Asked(method, boxes, flip), Asked(control, boxes, flip, within=0)]
    (whole, first), (own, second) = predict_together(asked, data)
    assert method.module.passes == 2 * (1 + flip), "two sequences have people, and each is one batch"
    assert whole == alone[0]
    np.testing.assert_allclose(own.joints, alone[1].joints, atol=1e-4)
    assert (first.clips, second.clips, second.beside, second.wall) == (9, 0, 9, 0)


def test_where_only_one_of_them_is_missing_it_runs_alone(data, boxes, pair, tmp_path) -> None:  # noqa: F811
    method, control = pair
    folders = tmp_path / "method", tmp_path / "control"
    asked = [Asked(method, boxes, shards=folders[0]), Asked(control, boxes, shards=folders[1], within=0)]
    together = [found for found, _ in predict_together(asked, data)]
    for folder in folders:
        next(folder.glob("000000-*")).unlink()
        for (again, timings), before in zip(predict_together(asked, data), together, strict=True):
            np.testing.assert_allclose(again.joints, before.joints, atol=1e-4)
            assert timings.beside == 0


def test_the_control_is_kept_first_so_that_a_kill_leaves_none_without_it(data, boxes, pair, tmp_path) -> None:  # noqa: F811
    saved_in: list[str] = []
    asked = [
        Asked(each, boxes, shards=tmp_path / name, within=within)
        for each, name, within in zip(pair, ("method", "control"), (None, 0), strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        save_shard = "harness.inference.shards.Shards.save"
        patch.setattr(save_shard, lambda shards, *_: saved_in.append(shards.folder.name))
        predict_together(asked, data)
    assert saved_in == ["control", "method"] * 3


def test_what_fails_fails_for_both_and_keeps_the_rest(data, boxes, pair, tmp_path) -> None:  # noqa: F811
    (data.root / "images/c/000002.jpg").write_bytes(b"")
    asked = [
        Asked(each, boxes, shards=tmp_path / str(place), within=None if place == 0 else 0)
        for place, each in enumerate(pair)
    ]
    with pytest.raises(HarnessError, match="1 sequences failed"):
        predict_together(asked, data, settings=Settings(keep_going=True))
    assert [len(list((tmp_path / str(place)).glob("*.parquet"))) for place in (0, 1)] == [2, 2]


def test_other_boxes_have_a_pass_of_their_own(data, boxes, pair) -> None:  # noqa: F811
    asked = [Asked(pair[0], boxes), Asked(pair[1], replace(boxes, sha256="sha256:other"), within=0)]
    assert [timings.clips for _, timings in predict_together(asked, data)] == [9, 9]


@pytest.mark.parametrize("name", [name for name in methods if name not in ("onnx",)])
def test_every_temporal_method_hands_out_its_backbone(name: str) -> None:
    card = methods[name]
    chosen = {preset.support: preset for preset in card.presets.values() if preset.crop.size == (96, 128)}
    temporal = [preset for preset in chosen.values() if 0 in preset.support and len(preset.support) > 1]
    for preset in temporal[:1]:
        torch.manual_seed(3)
        module = card.build(preset.options).eval()
        clips = torch.randn((2, len(preset.support), 3, 128, 96), generator=torch.Generator().manual_seed(5))
        with torch.inference_mode():
            outputs, backbone = module.with_backbone(clips)
            assert torch.equal(outputs, module(clips))
            own = module.backbone(clips[:, preset.support.index(0)])
        torch.testing.assert_close(backbone, own, rtol=1e-4, atol=1e-4)


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
