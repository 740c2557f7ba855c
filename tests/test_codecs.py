"""Codecs against the goldens (bit for bit), hand arithmetic, and the promises every codec makes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import shared
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.codecs import CoordinatesCodec, HeatmapCodec, build_codec, codecs
from harness.errors import UsageError
from harness.methods import CropSpec, Preset
from harness.skeletons import COCO17, POSETRACK17

DATA = Path(__file__).parent / "data" / "codecs"
SETTINGS = {"192x256_s2": ((192, 256), 2.0), "288x384_s3": ((288, 384), 3.0)}


def golden(name: str):
    path = DATA / f"{name}.npz"
    path = path if path.is_file() else shared("golden", "codecs", f"{name}.npz")
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return np.load(path)


@pytest.fixture(params=SETTINGS)
def case(request):
    size, sigma = SETTINGS[request.param]
    return request.param, size, sigma


def test_heatmap_encoding_equals_the_original_bit_for_bit(case) -> None:
    name, size, sigma = case
    data = golden(f"encode_{name}")
    targets = HeatmapCodec(size=size, sigma=sigma).encode(
        torch.from_numpy(data["joints_input_px"][None, :, :2]), torch.from_numpy(data["joints_vis"][None, :, 0])
    )
    np.testing.assert_array_equal(targets.values[0].numpy(), data["classic/target"])
    np.testing.assert_array_equal(targets.weights[0].numpy(), data["classic/weight"][:, 0])
    assert 0 < data["classic/weight"].sum() < 17


def test_heatmap_decoding_equals_the_original_bit_for_bit(case) -> None:
    name, size, _ = case
    data = golden(f"decode_{name}")
    decoded = HeatmapCodec(size=size).decode(torch.from_numpy(data["maps"]))
    np.testing.assert_array_equal(decoded.joints.numpy(), data["classic_post1/heatmap_coords"])
    np.testing.assert_array_equal(decoded.scores.numpy(), data["argmax/maxvals"][..., 0])
    assert decoded.grid == (size[0] // 4, size[1] // 4)


def test_heatmap_decoding_without_shift_is_the_argmax(case) -> None:
    name, size, _ = case
    data = golden(f"decode_{name}")
    decoded = HeatmapCodec(size=size, shift="none").decode(torch.from_numpy(data["maps"]))
    np.testing.assert_array_equal(decoded.joints.numpy(), data["argmax/coords"])


def test_shift_per_axis_equals_mmpose(case) -> None:
    name, size, _ = case
    data = golden(f"decode_{name}")
    decoded = HeatmapCodec(size=size, shift="per_axis").decode(torch.from_numpy(data["maps"]))
    found = decoded.scores.numpy() > 0  # mmpose marks the others with -1
    np.testing.assert_array_equal(4 * decoded.joints.numpy()[found], data["mmpose_msra/input_coords"][found])
    assert found.sum() == 32
    classic = HeatmapCodec(size=size).decode(torch.from_numpy(data["maps"]))
    assert (decoded.joints != classic.joints).any(), "the case has joints at borders, where the rules differ"


def test_flip_equals_the_original_bit_for_bit() -> None:
    data = golden("flip_simcc")
    order = torch.from_numpy(data["coco_flip_indices"])
    plain, mirrored = torch.from_numpy(data["hm/plain"]), torch.from_numpy(data["hm/from_flipped_image"])
    codec = HeatmapCodec(size=(48, 64))
    np.testing.assert_array_equal(codec.flip_back(mirrored, order).numpy(), data["hm/flip_back_shifted"])
    np.testing.assert_array_equal(codec.merge(plain, mirrored, order).numpy(), data["hm/avg_shift"])
    codec = HeatmapCodec(size=(48, 64), flip_shift=False)
    np.testing.assert_array_equal(codec.flip_back(mirrored, order).numpy(), data["hm/flip_back"])
    np.testing.assert_array_equal(codec.merge(plain, mirrored, order).numpy(), data["hm/avg_noshift"])


def test_flip_orders_of_the_skeletons_are_the_originals() -> None:
    data = golden("flip_simcc")
    np.testing.assert_array_equal(COCO17.flip_order, data["coco_flip_indices"])
    np.testing.assert_array_equal(POSETRACK17.flip_order, data["posetrack17ch_flip_indices"])


def test_first_of_equal_maxima_counts_and_its_neighbours_decide_the_shift() -> None:
    maps = torch.zeros(1, 1, 6, 7)
    maps[0, 0, 2, 3] = maps[0, 0, 4, 5] = 1.0
    maps[0, 0, 2, 4] = 0.5  # right of the first: shift +0.25 in x, none in y
    decoded = HeatmapCodec(size=(28, 24)).decode(maps)
    assert decoded.joints.tolist() == [[[3.25, 2.0]]]
    assert decoded.scores.tolist() == [[1.0]]


def test_map_without_positive_value_is_at_the_origin_and_keeps_its_score() -> None:
    maps = torch.full((1, 1, 6, 6), -2.0)
    maps[0, 0, 3, 3] = -0.5
    decoded = HeatmapCodec(size=(24, 24)).decode(maps)
    assert decoded.joints.tolist() == [[[0.0, 0.0]]]
    assert decoded.scores.tolist() == [[-0.5]]


def test_unannotated_joint_teaches_nothing() -> None:
    joints = torch.tensor([[[float("nan"), float("nan")], [8.0, 8.0], [1e12, 8.0]]])
    targets = HeatmapCodec(size=(32, 32), sigma=1.0).encode(joints, torch.ones(1, 3))
    assert targets.weights.tolist() == [[0.0, 1.0, 0.0]]
    assert targets.values[0, [0, 2]].abs().sum() == 0
    assert targets.values[0, 1, 2, 2] == 1.0


def test_fractional_radius_stays_symmetric() -> None:
    targets = HeatmapCodec(size=(96, 128), sigma=1.5).encode(torch.tensor([[[8.0, 64.0]]]), torch.ones(1, 1))
    row = targets.values[0, 0, 16]
    assert row[2] == 1.0
    assert row[1] == row[3] == np.exp(np.float32(-1 / 4.5))
    assert row[6] > 0
    assert row[7] == 0, "radius floor(3 * 1.5) = 4"


def test_half_precision_maps_are_decoded_in_float32() -> None:
    maps = torch.zeros(1, 1, 8, 8, dtype=torch.bfloat16)
    maps[0, 0, 4, 5] = 1.0
    decoded = HeatmapCodec(size=(32, 32)).decode(maps)
    assert decoded.joints.dtype == decoded.scores.dtype == torch.float32
    assert decoded.joints.tolist() == [[[5.0, 4.0]]]


@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(8, 88), y=st.floats(8, 120), name=st.sampled_from(["heatmap", "coordinates"]), mirrored=st.booleans()
)
def test_decoding_what_was_encoded_finds_the_joint(x: float, y: float, name: str, mirrored: bool) -> None:
    """Also through the mirror: outputs for the mirrored joint, flipped back, decode to the joint itself."""
    codec = codecs[name](size=(96, 128))
    order = torch.tensor([1, 0])
    joints = torch.tensor([[[x, y], [96 - x, 128 - y]]])
    given_joints = joints
    if mirrored:
        given_joints = joints[:, order] * torch.tensor([-1.0, 1.0]) + torch.tensor([95.0, 0.0])
    values = codec.encode(given_joints, torch.ones(1, 2)).values
    decoded = codec.decode(codec.flip_back(values, order) if mirrored else values)
    scale = torch.tensor([96.0, 128.0]) / torch.tensor(decoded.grid)
    # half a cell of quantisation, and a quarter more from the shift of a flipped map
    tolerance = 1e-4 if name == "coordinates" else 2.001 + mirrored
    assert (decoded.joints * scale - joints).abs().max() <= tolerance


def test_coordinates_by_hand() -> None:
    codec = CoordinatesCodec(size=(100, 200))
    targets = codec.encode(torch.tensor([[[25.0, 50.0], [-1.0, 3.0]]]), torch.ones(1, 2))
    assert targets.values.tolist() == [[[0.25, 0.25, 1.0], [0.0, 0.0, 0.0]]]
    assert targets.weights.tolist() == [[1.0, 0.0]]
    decoded = codec.decode(targets.values)
    assert decoded.joints.tolist() == [[[25.0, 50.0], [0.0, 0.0]]]
    assert decoded.grid == (100, 200)
    # mirrored: pixel 25 of 100 columns is pixel 74 of the mirrored picture
    back = codec.flip_back(targets.values, torch.tensor([1, 0]))
    assert codec.decode(back).joints[0, 1].tolist() == pytest.approx([74.0, 50.0])


@pytest.mark.parametrize("name", ["heatmap", "coordinates"])
def test_batch_does_not_matter(name: str) -> None:
    codec = codecs[name](size=(48, 64))
    shape = (5, 17, 16, 12) if name == "heatmap" else (5, 17, 3)
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    whole, alone = codec.decode(outputs), codec.decode(outputs[3:4])
    assert torch.equal(whole.joints[3:4], alone.joints)
    assert torch.equal(whole.scores[3:4], alone.scores)
    assert whole.joints.shape == (5, 17, 2)


def test_every_codec_states_its_geometry_and_unknown_ones_are_refused() -> None:
    assert {"heatmap", "coordinates"} <= set(codecs)
    for name in codecs:
        assert codecs[name](size=(96, 128)).geometry in ("plain", "dark", "udp")
    with pytest.raises(UsageError, match="did you mean 'heatmap'"):
        codecs["heatmaps"]


def test_a_preset_makes_its_codec() -> None:
    preset = Preset(crop=CropSpec(size=(96, 128)), codec="heatmap", codec_options={"sigma": 1.5, "shift": "none"})
    codec = build_codec(preset)
    assert isinstance(codec, HeatmapCodec)
    assert (codec.grid, codec.sigma, codec.shift) == ((24, 32), 1.5, "none")


def test_logits_are_read_as_probabilities() -> None:
    """Logits of the target itself (up to a constant) decode to its joint, with the score of a peak as sharp: 1."""
    codec = HeatmapCodec(size=(96, 128), sigma=1.5, activation="softmax")
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")
    logits = -((x - 9.9) ** 2 + (y - 15) ** 2) / (2 * 1.5**2) - 7
    decoded = codec.decode(logits[None, None])
    assert decoded.joints.tolist() == [[[9.75, 15.0]]]
    assert decoded.scores[0, 0] == pytest.approx(1.0, abs=0.01)
    assert codec.decode(torch.zeros(1, 1, 32, 24)).scores[0, 0] == pytest.approx(2 * np.pi * 1.5**2 / (32 * 24))
