"""SimCC codec: labels, read-out, both score rules and the flip test, against the goldens and by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import shared

from harness.codecs import SimccCodec

DATA = Path(__file__).parent / "data" / "codecs"
LABELS = [
    ("encode_192x256_s2", (192, 256), "simcc_r2_s4", 2.0, 4.0),
    ("encode_192x256_s2", (192, 256), "simcc_r3_s2", 3.0, 2.0),
]


def golden(name: str):
    path = DATA / f"{name}.npz"
    path = path if path.is_file() else shared("golden", "codecs", f"{name}.npz")
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return np.load(path)


def encoded(codec: SimccCodec, data):
    joints, visible = data["joints_input_px"][None, :, :2], data["joints_vis"][None, :, 0]
    targets = codec.encode(torch.from_numpy(joints), torch.from_numpy(visible))
    first = codec.bins[0]
    return targets.values[0, :, :first].numpy(), targets.values[0, :, first:].numpy(), targets.weights[0].numpy()


@pytest.mark.parametrize(("file", "size", "group", "split", "sigma"), LABELS)
def test_gaussian_labels_equal_the_original(file: str, size, group: str, split: float, sigma: float) -> None:
    data = golden(file)
    x, y, weights = encoded(SimccCodec(size=size, split=split, sigma=sigma), data)
    np.testing.assert_array_equal(weights, data[f"{group}/sa_weight"].ravel())
    np.testing.assert_allclose(x, data[f"{group}/sa_x"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(y, data[f"{group}/sa_y"], rtol=0, atol=1e-7)
    assert 0 < weights.sum() < 17


@pytest.mark.parametrize(("file", "size", "group", "split", "sigma"), LABELS)
def test_smoothed_labels_equal_the_original(file: str, size, group: str, split: float, sigma: float) -> None:
    data = golden(file)
    x, y, weights = encoded(SimccCodec(size=size, split=split, style="simdr", smoothing=0.1), data)
    np.testing.assert_array_equal(weights, data[f"{group}/simdr_weight"].ravel())
    known = weights > 0
    np.testing.assert_array_equal(x[known].argmax(-1), data[f"{group}/simdr_label"][known, 0])
    np.testing.assert_array_equal(y[known].argmax(-1), data[f"{group}/simdr_label"][known, 1])
    np.testing.assert_allclose(x[known].max(-1), 0.9, rtol=1e-6)
    np.testing.assert_allclose(x[known].min(-1), 0.1 / (x.shape[1] - 1), rtol=1e-6)
    # with the zeros of joints that teach nothing the sums are mmpose's too
    np.testing.assert_allclose(x[known].sum(-1), 1, rtol=1e-5)
    assert not x[~known].any()


@pytest.mark.parametrize(("file", "size", "group", "split", "sigma"), LABELS)
def test_labels_in_mmpose_style(file: str, size, group: str, split: float, sigma: float) -> None:
    data = golden(file)
    x, y, weights = encoded(SimccCodec(size=size, split=split, sigma=sigma, style="mmpose"), data)
    np.testing.assert_array_equal(weights, data[f"{group}/mmpose_weight"])
    np.testing.assert_allclose(x, data[f"{group}/mmpose_x"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(y, data[f"{group}/mmpose_y"], rtol=0, atol=1e-7)


def test_labels_of_a_sigma_per_axis() -> None:
    data = golden("encode_192x256_s2")
    sigma = tuple(data["simcc_aniso/sigma_xy"].tolist())
    x, y, weights = encoded(SimccCodec(size=(192, 256), sigma=sigma, style="mmpose", normalise=False), data)
    np.testing.assert_array_equal(weights, data["simcc_aniso/weight"])
    np.testing.assert_allclose(x, data["simcc_aniso/x"], rtol=0, atol=3e-7)
    np.testing.assert_allclose(y, data["simcc_aniso/y"], rtol=0, atol=3e-7)


def logits(data, suffix: str = "") -> torch.Tensor:
    return torch.cat([torch.from_numpy(data[f"simcc/{axis}{suffix}"]) for axis in "xy"], dim=-1)


def codec_of(style: str, **options) -> SimccCodec:
    return SimccCodec(size=(20, 28), split=2.0, style=style, **options)


@pytest.mark.parametrize(("style", "tag"), [("simdr", "simdr"), ("sa-simdr", "sa")])
def test_reading_equals_the_original(style: str, tag: str) -> None:
    data = golden("flip_simcc")
    decoded = codec_of(style).decode(logits(data))
    np.testing.assert_array_equal(decoded.joints.numpy(), data[f"simcc/{tag}_noflip/coords_input"])
    np.testing.assert_allclose(decoded.scores.numpy(), data[f"simcc/{tag}_noflip/score"], rtol=1e-6)
    assert decoded.grid == (20, 28)


@pytest.mark.parametrize(("style", "tag"), [("simdr", "simdr"), ("sa-simdr", "sa")])
def test_flip_test_equals_the_original(style: str, tag: str) -> None:
    data = golden("flip_simcc")
    codec, order = codec_of(style), torch.from_numpy(data["coco_flip_indices"])
    back = codec.flip_back(logits(data, "_from_flipped"), order)
    np.testing.assert_array_equal(back[..., :40].numpy(), data["simcc/x_flip_back_shifted"])
    np.testing.assert_array_equal(back[..., 40:].numpy(), data["simcc/y_flip_back"])
    merged = codec.merge(logits(data), logits(data, "_from_flipped"), order)
    group = f"simcc/{tag}_flip_shift"
    np.testing.assert_allclose(merged[..., :40].softmax(-1).numpy(), data[f"{group}/prob_x"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(merged[..., 40:].softmax(-1).numpy(), data[f"{group}/prob_y"], rtol=1e-5, atol=1e-7)
    decoded = codec.decode(merged)
    np.testing.assert_array_equal(decoded.joints.numpy(), data[f"{group}/coords_input"])
    np.testing.assert_allclose(decoded.scores.numpy(), data[f"{group}/score"], rtol=1e-5)


def test_mmpose_style_reads_raw_logits_and_does_not_shift() -> None:
    data = golden("flip_simcc")
    codec, order = codec_of("mmpose"), torch.from_numpy(data["coco_flip_indices"])
    decoded = codec.decode(logits(data))
    found = data["simcc/mmpose_decode/score"] > 0
    np.testing.assert_array_equal(decoded.scores.numpy(), data["simcc/mmpose_decode/score"])
    np.testing.assert_array_equal(decoded.joints.numpy()[found], data["simcc/mmpose_decode/coords"][found])
    assert found.any()
    back = codec.flip_back(logits(data, "_from_flipped"), order)
    np.testing.assert_array_equal(back[..., :40].numpy(), data["simcc/x_flip_back"])


def test_refinement_along_each_axis_equals_mmpose() -> None:
    data = golden("flip_simcc")
    joints = torch.from_numpy(data["simcc/dark/true_input_px"])[None]
    sigma = tuple(data["simcc/dark/sigma_xy"].tolist())
    labels = SimccCodec(size=(192, 256), sigma=sigma, normalise=False).encode(joints, torch.ones(1, 17)).values
    codec = SimccCodec(size=(192, 256), sigma=sigma, style="mmpose", refine=True)
    decoded = codec.decode(labels)
    np.testing.assert_allclose(decoded.joints[0].numpy(), data["simcc/dark/coords"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(decoded.scores[0].numpy(), data["simcc/dark/score"], rtol=1e-6)
    coarse = SimccCodec(size=(192, 256), sigma=sigma).decode(labels)
    assert (decoded.joints - joints).abs().mean() < (coarse.joints - joints).abs().mean()


def test_the_score_rule_can_be_chosen() -> None:
    values = torch.zeros(1, 1, 40 + 56)
    values[..., 3], values[..., 50] = 4.0, 9.0
    x = np.exp(4) / (np.exp(4) + 39)
    y = np.exp(9) / (np.exp(9) + 55)
    assert codec_of("simdr").decode(values).scores.item() == pytest.approx(y)
    assert codec_of("sa-simdr").decode(values).scores.item() == pytest.approx(x)
    assert codec_of("simdr", score="min").decode(values).scores.item() == pytest.approx(x)
    assert codec_of("sa-simdr", score="max").decode(values).scores.item() == pytest.approx(y)
    assert codec_of("sa-simdr").decode(values).joints.tolist() == [[[1.5, 5.0]]]


def test_split_ratio_that_is_no_whole_number() -> None:
    codec = SimccCodec(size=(288, 384), split=1.5)
    assert codec.bins == (432, 576)
    decoded = codec.decode(100 * codec.encode(torch.tensor([[[100.0, 200.0]]]), torch.ones(1, 1)).values)
    assert decoded.joints.tolist() == [[[100.0, 200.0]]]


def test_unannotated_joints_teach_nothing() -> None:
    joints = torch.tensor([[[float("nan"), 3.0], [5.0, 5.0], [500.0, 5.0]]])
    for style in ("simdr", "sa-simdr", "mmpose"):
        targets = codec_of(style).encode(joints, torch.ones(1, 3))
        assert targets.weights.tolist() == [[0.0, 1.0, 0.0]]
        assert not targets.values[0, [0, 2]].any()
