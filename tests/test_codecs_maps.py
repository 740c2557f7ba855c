"""DARK, UDP and DSNT codecs against the goldens and hand arithmetic; any of them reading another's network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import shared
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.codecs import DarkCodec, DsntCodec, HeatmapCodec, UdpCodec, UdpOffsetCodec, codecs, read_as
from harness.codecs.blur import blur
from harness.codecs.dsnt import expected_cells
from harness.codecs.maps import gaussian_maps
from harness.errors import UsageError
from harness.inference.crops import image_matrices, transform
from harness.methods import CropSpec, Preset

DATA = Path(__file__).parent / "data" / "codecs"
SETTINGS = {"192x256_s2": ((192, 256), 2.0), "288x384_s3": ((288, 384), 3.0)}
#: Largest distance to upstream's decoded coordinates, in cells: float32 logarithms in another order.
CLOSE = 1e-3


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


def encoded(codec, data):
    joints, visible = data["joints_input_px"][None, :, :2], data["joints_vis"][None, :, 0]
    return codec.encode(torch.from_numpy(joints), torch.from_numpy(visible))


def to_image(decoded, data, geometry: str) -> np.ndarray:
    matrices = image_matrices(data["center"], data["scale"], decoded.grid, geometry=geometry)
    return transform(decoded.joints.double().numpy(), matrices)


@pytest.mark.parametrize(("name", "geometry"), [("dark", "dark"), ("mmpose_unbiased", "plain")])
def test_unbiased_encoding_equals_the_originals(case, name: str, geometry: str) -> None:
    file, size, sigma = case
    data = golden(f"encode_{file}")
    targets = encoded(DarkCodec(size=size, sigma=sigma, geometry=geometry), data)
    np.testing.assert_array_equal(targets.weights[0].numpy(), data[f"{name}/weight"].ravel())
    np.testing.assert_allclose(targets.values[0].numpy(), data[f"{name}/target"], rtol=0, atol=3e-7)


@pytest.mark.parametrize("kernel", [11, 17])
def test_dark_decoding_equals_the_original(case, kernel: int) -> None:
    file, size, _ = case
    data = golden(f"decode_{file}")
    decoded = DarkCodec(size=size, kernel=kernel).decode(torch.from_numpy(data["maps"]))
    # sample 1, joint 6 is an all-zero map: upstream divides 0 by 0 there, but does not refine it
    np.testing.assert_allclose(decoded.joints.numpy(), data[f"dark_k{kernel}/heatmap_coords"], rtol=0, atol=CLOSE)
    np.testing.assert_array_equal(decoded.scores.numpy(), data["argmax/maxvals"][..., 0])
    image = to_image(decoded, data, "dark")
    np.testing.assert_allclose(image, data[f"dark_k{kernel}/image_coords"], rtol=0, atol=0.02)


def test_dark_decoding_under_the_plain_geometry_is_that_of_fami_and_mmpose(case) -> None:
    file, size, _ = case
    data = golden(f"decode_{file}")
    maps = torch.from_numpy(data["maps"])
    decoded = DarkCodec(size=size, geometry="plain").decode(maps)
    np.testing.assert_allclose(to_image(decoded, data, "plain"), data["fami_dark_k11/image_coords"], rtol=0, atol=0.02)
    found = decoded.scores.numpy() > 0
    decoded = DarkCodec(size=size, geometry="plain", kernel=int(data["mmpose_dark/kernel"])).decode(maps)
    expected = data["mmpose_dark/input_coords"]
    np.testing.assert_allclose(4 * decoded.joints.numpy()[found], expected[found], rtol=0, atol=4 * CLOSE)


def test_smoothed_maps_equal_opencv(case) -> None:
    file, _, _ = case
    data = golden(f"decode_{file}")
    maps = torch.from_numpy(data["maps"])
    smooth = blur(maps, 11, border="zero")
    smooth *= (maps.amax((-2, -1)) / smooth.amax((-2, -1)))[..., None, None]
    expected = data["dark_k11/blurred_subset"]
    ours = smooth[:, ::6, ::2, ::2].numpy()
    np.testing.assert_allclose(ours[np.isfinite(expected)], expected[np.isfinite(expected)], rtol=0, atol=1e-6)


def test_small_kernels_are_the_tables_of_opencv() -> None:
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[0, 0, 4, 4] = 1.0
    row = blur(impulse, 5, border="reflect")[0, 0, 4]
    assert (row[2:7] * 16 * 16 / 6).tolist() == [1, 4, 6, 4, 1]


def test_elliptical_gaussian_equals_its_definition() -> None:
    data = golden("elliptical_definition")
    for name, size, sigma in (("48x64", (192, 256), 2.0), ("72x96", (288, 384), 3.0)):
        codec = DarkCodec(size=size, sigma=sigma, geometry="plain", elliptical=True)
        np.testing.assert_allclose(codec.sigmas, data[f"{name}/sigma_xy"], rtol=1e-9)
        centres = torch.from_numpy(data[f"{name}/centres"])[None]
        maps = gaussian_maps(centres, codec.grid, codec.sigmas)
        np.testing.assert_allclose(maps[0].numpy(), data[f"{name}/maps"], rtol=0, atol=3e-7)
        decoded = codec.decode(codec.encode(4 * centres, torch.ones(1, 6)).values)
        inside = ((centres > 6) & (centres < torch.tensor(codec.grid) - 7)).all(-1)
        assert inside.sum() >= 2
        np.testing.assert_allclose(decoded.joints[inside].numpy(), centres[inside].numpy(), atol=0.02)


def test_elliptical_of_a_square_map_is_round() -> None:
    round_one, elliptical = (DarkCodec(size=(128, 128), sigma=2.0, elliptical=flag) for flag in (False, True))
    joints = torch.tensor([[[33.3, 71.0]]])
    weights = torch.ones(1, 1)
    assert torch.equal(round_one.encode(joints, weights).values, elliptical.encode(joints, weights).values)


def test_udp_encoding_equals_the_original(case) -> None:
    file, size, sigma = case
    data = golden(f"encode_{file}")
    targets = encoded(UdpCodec(size=size, sigma=sigma), data)
    np.testing.assert_array_equal(targets.weights[0].numpy(), data["udp_gaussian/weight"].ravel())
    np.testing.assert_allclose(targets.values[0].numpy(), data["udp_gaussian/target"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", [3, 11])
def test_udp_decoding_equals_the_original(case, kernel: int) -> None:
    file, size, _ = case
    data = golden(f"decode_{file}")
    decoded = UdpCodec(size=size, kernel=kernel).decode(torch.from_numpy(data["maps"]))
    found = decoded.scores.numpy() > 0  # upstream reads beyond the map for the others
    expected = data[f"udp_k{kernel}/heatmap_coords"]
    np.testing.assert_allclose(decoded.joints.numpy()[found], expected[found], rtol=0, atol=2 * CLOSE)
    image = to_image(decoded, data, "udp")
    np.testing.assert_allclose(image[found], data[f"udp_k{kernel}/image_coords"][found], rtol=0, atol=0.03)
    assert decoded.joints.isfinite().all()


def test_udp_decoding_in_mmpose_style(case) -> None:
    file, size, _ = case
    data = golden(f"decode_{file}")
    maps = torch.from_numpy(data["maps"])
    codec = UdpCodec(size=size, kernel=int(data["mmpose_dark/kernel"]), style="mmpose")
    decoded = codec.decode(maps)
    found = decoded.scores.numpy() > 0
    scale = np.array(size) / (np.array(codec.grid) - 1)
    ours = decoded.joints.double().numpy() * scale
    np.testing.assert_allclose(ours[found], data["mmpose_udp/input_coords"][found], rtol=0, atol=0.02)
    other = UdpCodec(size=size, kernel=codec.kernel).decode(maps)
    assert (decoded.joints - other.joints).abs()[found].max() > 1, "the styles differ at the border"


def test_udp_offsets_equal_the_original(case) -> None:
    file, size, _ = case
    data = golden(f"encode_{file}")
    targets = encoded(UdpOffsetCodec(size=size), data)
    np.testing.assert_array_equal(targets.weights[0].numpy(), data["udp_combined/weight"].ravel())
    np.testing.assert_allclose(
        targets.values[0, :24].numpy(), data["udp_combined/target_first8joints"], rtol=0, atol=2e-6
    )
    sums = targets.values[0].double().sum((-2, -1)).numpy()
    np.testing.assert_allclose(sums, data["udp_combined/channel_sums"], rtol=1e-5, atol=1e-4)
    mmpose = encoded(UdpOffsetCodec(size=size, style="mmpose"), data).values[0].double().sum((-2, -1)).numpy()
    np.testing.assert_allclose(mmpose[::3], data["mmpose_udp_combined/class_channel_sums"], atol=1e-6)
    np.testing.assert_allclose(mmpose[1::3], data["mmpose_udp_combined/xoffset_channel_sums"], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("style", ["original", "mmpose"])
def test_udp_offset_decoding_equals_the_original(case, style: str) -> None:
    file, size, _ = case
    data = golden(f"decode_{file}")
    codec = UdpOffsetCodec(size=size, style=style)
    joints = torch.from_numpy(data["udp_combined/joints_input_px"][None, :, :2])
    decoded = codec.decode(codec.encode(joints, torch.ones(1, 17)).values)
    if style == "original":
        matrices = image_matrices(data["center"][:1], data["scale"][:1], decoded.grid, geometry="udp")
        image = transform(decoded.joints.double().numpy(), matrices)
        np.testing.assert_allclose(image, data["udp_combined/image_coords"], rtol=0, atol=0.01)
        np.testing.assert_allclose(decoded.scores[0], data["udp_combined/maxvals"][0, :, 0], rtol=0, atol=1e-5)
    else:
        scale = np.array(size) / (np.array(codec.grid) - 1)
        ours = decoded.joints[0].double().numpy() * scale
        np.testing.assert_allclose(ours, data["mmpose_udp_combined/input_coords"], rtol=0, atol=0.01)
        np.testing.assert_allclose(decoded.scores[0], data["mmpose_udp_combined/scores"], rtol=0, atol=1e-5)


def test_offset_maps_change_sign_in_the_mirror() -> None:
    codec = UdpOffsetCodec(size=(96, 128))
    order = torch.tensor([1, 0])
    joints = torch.tensor([[[20.0, 30.0], [70.0, 100.0]]])
    mirrored = joints[:, order] * torch.tensor([-1.0, 1.0]) + torch.tensor([95.0, 0.0])
    weights = torch.ones(1, 2)
    plain, back = codec.encode(joints, weights), codec.flip_back(codec.encode(mirrored, weights).values, order)
    torch.testing.assert_close(back, plain.values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", ["rect", "square"])
def test_dsnt_equals_the_original(shape: str) -> None:
    data = np.load(DATA / "dsnt.npz")
    logits = torch.from_numpy(data[f"{shape}/logits"])
    height, width = logits.shape[-2:]
    codec = DsntCodec(size=(4 * width, 4 * height), sigma=1.0)
    np.testing.assert_allclose(codec.probabilities(logits).numpy(), data[f"{shape}/heatmaps"], atol=1e-7)
    decoded = codec.decode(logits)
    np.testing.assert_allclose(decoded.joints.numpy(), data[f"{shape}/coords_pixels"], rtol=0, atol=2e-5)
    for sigma in (0.5, 1.0, 2.0):
        cells = torch.from_numpy(data[f"{shape}/target_px"])
        targets = DsntCodec(size=codec.size, sigma=sigma).encode(4 * cells, torch.ones(2, 5))
        known = targets.weights.bool()
        expected = data[f"{shape}/gauss_{sigma}"]
        np.testing.assert_allclose(targets.values[known].numpy(), expected[known.numpy()], rtol=1e-5, atol=2e-6)
        assert known.sum() >= 8


def test_dsnt_of_a_uniform_map_is_the_middle_and_has_gradients() -> None:
    logits = torch.zeros(1, 1, 5, 7, requires_grad=True)
    codec = DsntCodec(size=(28, 20))
    decoded = codec.decode(logits)
    assert decoded.joints.tolist() == pytest.approx(np.array([[[3.0, 2.0]]]))
    decoded.joints[..., 0].sum().backward()
    # dx/dz = p (X - x), seed002_rest spec 2.1
    np.testing.assert_allclose(logits.grad[0, 0, 0].numpy(), (np.arange(7) - 3) / 35, atol=1e-7)


def test_dsnt_reads_maps_that_are_no_logits() -> None:
    maps = torch.zeros(1, 1, 4, 6)
    maps[0, 0, 1, 2:4] = 0.5
    maps[0, 0, 3, 0] = -1.0
    decoded = DsntCodec(size=(24, 16), activation="none").decode(maps)
    assert decoded.joints.tolist() == [[[2.5, 1.0]]]
    assert DsntCodec(size=(24, 16), activation="none").decode(torch.zeros(1, 1, 4, 6)).joints.isfinite().all()
    assert expected_cells(torch.full((1, 1, 1, 4), 0.25)).tolist() == [[[1.5, 0.0]]]


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(25, 70), y=st.floats(25, 100), name=st.sampled_from(["dark", "udp", "udp_offset", "dsnt"]),
    mirrored=st.booleans(), style=st.sampled_from(["original", "mmpose"]),
)  # fmt: skip
def test_decoding_finds_the_joint_between_the_cells(x: float, y: float, name: str, mirrored: bool, style: str) -> None:
    # the disc of a map this small is a few cells wide, and smoothing it would move it
    options = {
        "dark": {}, "udp": {"style": style}, "udp_offset": {"style": style, "radius": 0.15, "kernel": 3},
        "dsnt": {"activation": "none", "geometry": "dark"},
    }  # fmt: skip
    codec = codecs[name](size=(96, 128), **options[name])
    order = torch.tensor([1, 0])
    joints = torch.tensor([[[x, y], [95 - x, 127 - y]]])
    drawn = joints[:, order] * torch.tensor([-1.0, 1.0]) + torch.tensor([95.0, 0.0]) if mirrored else joints
    values = codec.encode(drawn, torch.ones(1, 2)).values
    decoded = codec.decode(codec.flip_back(values, order) if mirrored else values)
    scale = torch.tensor([95.0, 127.0]) / (torch.tensor(decoded.grid) - 1)
    assert (decoded.joints * scale - joints).abs().max() < (0.05 if name == "dsnt" else 0.4)


@pytest.mark.parametrize("name", ["dark", "udp", "dsnt", "heatmap"])
def test_a_batch_is_decoded_sample_by_sample(name: str) -> None:
    codec = codecs[name](size=(96, 128))
    maps = torch.randn(5, 17, 32, 24, generator=torch.Generator().manual_seed(1))
    whole, alone = codec.decode(maps), codec.decode(maps[2:3])
    torch.testing.assert_close(whole.joints[2:3], alone.joints, rtol=0, atol=1e-3)
    assert whole.joints.isfinite().all()


def preset(**options) -> Preset:
    return Preset(crop=CropSpec(size=(96, 128)), codec="heatmap", codec_options=options)


@pytest.mark.parametrize("name", ["dark", "udp", "dsnt"])
def test_another_codec_reads_the_network_as_it_was_trained(name: str) -> None:
    """Joints in the plain geometry, drawn by the classic codec, are found by every other one."""
    chosen = read_as(preset(sigma=1.5, shift="none"), name)
    codec = codecs[chosen.codec](size=(96, 128), **chosen.codec_options)
    assert (chosen.codec, codec.sigma, codec.geometry, codec.activation) == (name, 1.5, "plain", "none")
    joints = torch.tensor([[[40.0, 60.0]]])
    maps = HeatmapCodec(size=(96, 128), sigma=1.5).encode(joints, torch.ones(1, 1)).values
    torch.testing.assert_close(codec.decode(maps).joints, joints / 4, rtol=0, atol=0.02)
    assert codec.flip_back(maps, torch.tensor([0]))[0, 0, 15].argmax() == 24 - 10, "shifted by one, as it was"


def test_a_softmax_network_stays_one() -> None:
    chosen = read_as(preset(sigma=1.5, activation="softmax"), "dark")
    assert chosen.codec_options["activation"] == "softmax"
    assert read_as(preset(sigma=1.5), "heatmap") == preset(sigma=1.5)


@pytest.mark.parametrize("name", ["simcc", "coordinates", "udp_offset"])
def test_codecs_of_another_form_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"codec '{name}' does not read maps.*dark, dsnt, heatmap, udp"):
        read_as(preset(), name)
    with pytest.raises(UsageError, match="did you mean 'dark'"):
        read_as(preset(), "drak")
