"""Crop geometry against the numbers of the original repositories, bit for bit where OpenCV 4 makes that possible."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.errors import UsageError
from harness.inference.crops import centre_and_scale, crop_matrices, image_matrices, transform, warp

DATA = Path(__file__).parent / "data" / "crops"
SHARED = Path(__file__).parents[2] / "shared" / "golden"
SIZES = [(192, 256), (288, 384), (256, 256)]
ZERO_SIZE = 17


@pytest.fixture(scope="module")
def affine():
    return np.load(DATA / "affine.npz")


@pytest.fixture(scope="module")
def warped():
    return np.load(DATA / "warp.npz")


def golden(affine, size, name):
    return np.delete(affine[f"{size[0]}x{size[1]}/{name}"], ZERO_SIZE, axis=0)


def regions(affine, size):
    return golden(affine, size, "center"), golden(affine, size, "scale")


@pytest.mark.parametrize("size", SIZES)
def test_centre_and_scale_are_those_of_hrnet(affine, size):
    corner, sides = np.split(np.delete(affine["boxes_xywh"], ZERO_SIZE, axis=0), 2, axis=1)
    centre, scale = centre_and_scale(np.hstack([corner, corner + sides]), size)
    assert np.array_equal(centre, golden(affine, size, "center"))
    assert np.array_equal(scale, golden(affine, size, "scale"))


def test_quirk_of_centre_minus_one_can_be_turned_off():
    box = np.array([[-11.0, 0.0, 9.0, 40.0]])
    _, kept = centre_and_scale(box, (192, 256))
    _, mended = centre_and_scale(box, (192, 256), skip_minus_one=False)
    assert kept[0, 1] == np.float32(0.2) and mended[0, 1] == np.float32(0.25)


def test_box_without_extent_still_has_a_region():
    _, scale = centre_and_scale(np.array([[5.0, 6.0, 5.0, 6.0]]), (192, 256))
    assert scale[0, 1] == pytest.approx(1.25 / 0.75 / 200)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("geometry", "name"), [("plain", "trans_forward"), ("dark", "dark_trans_forward")])
def test_crop_matrices_equal_upstream(affine, size, geometry, name):
    for place, rotation in enumerate(affine["rotations"]):
        matrices = crop_matrices(*regions(affine, size), size, geometry=geometry, rotation=rotation)
        assert np.array_equal(matrices, golden(affine, size, name)[:, place])


@pytest.mark.parametrize("size", SIZES)
def test_udp_matrices_equal_upstream(affine, size):
    for place, rotation in enumerate(affine["rotations"]):
        expected = golden(affine, size, "udp_trans_forward")[:, place]
        matrices = crop_matrices(*regions(affine, size), size, geometry="udp", rotation=rotation)
        np.testing.assert_allclose(matrices, expected, rtol=2e-6, atol=2e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("geometry", "name", "tolerance"),
    [("plain", "", 1e-12), ("dark", "_dark", 1e-12), ("udp", "_udp", 1e-4)],
)
def test_points_go_back_to_the_image(affine, size, geometry, name, tolerance):
    grid = size[0] // 4, size[1] // 4
    back = image_matrices(*regions(affine, size), grid, geometry=geometry)
    points = transform(golden(affine, size, "pts_heatmap"), back)
    np.testing.assert_allclose(points, golden(affine, size, "pts_heatmap_to_image" + name), rtol=0, atol=tolerance * 10)


@pytest.mark.parametrize("size", SIZES)
def test_inverse_is_built_by_swapping_points(affine, size):
    grid = size[0] // 4, size[1] // 4
    for geometry, name in (("plain", ""), ("dark", "dark_")):
        back = image_matrices(*regions(affine, size), grid, geometry=geometry)
        assert np.array_equal(back, golden(affine, size, name + "trans_inverse_heatmap"))


@pytest.mark.parametrize("case", range(5))
@pytest.mark.skipif(cv2.__version__.startswith("5"), reason="OpenCV 5 rounds differently")
def test_crops_equal_upstream_in_every_pixel(warped, case):
    size = tuple(warped[f"case{case}/size_wh"].tolist())
    where = warped[f"case{case}/center"][None], warped[f"case{case}/scale"][None], size
    for geometry, name in (("plain", "warped"), ("udp", "udp_warped")):
        matrix = crop_matrices(*where, geometry=geometry, rotation=float(warped[f"case{case}/rot"]))[0]
        assert np.array_equal(warp(warped["image"], matrix, size), warped[f"case{case}/{name}"])


@pytest.mark.parametrize("geometry", ["plain", "dark", "udp"])
@pytest.mark.parametrize("aspect", ["keep", "stretch"])
def test_there_and_back_is_where_one_was(geometry, aspect):
    boxes = np.array([[10.0, 20.0, 50.0, 140.0], [0.0, 0.0, 300.0, 31.0]])
    points = np.array([[[12.0, 25.0], [40.0, 100.0]], [[1.0, 30.0], [250.0, 2.0]]])
    centre, scale = centre_and_scale(boxes, (96, 128), aspect=aspect)
    there = crop_matrices(centre, scale, (96, 128), geometry=geometry, aspect=aspect)
    back = image_matrices(centre, scale, (96, 128), geometry=geometry, aspect=aspect)
    np.testing.assert_allclose(transform(transform(points, there), back), points, atol=1e-3)


def test_stretch_maps_the_corners_of_the_box_to_the_corners_of_the_crop():
    centre, scale = centre_and_scale(np.array([[10.0, 20.0, 50.0, 140.0]]), (96, 128), enlarge=1.0, aspect="stretch")
    corners = np.array([[[10.0, 20.0], [50.0, 140.0]]])
    mapped = transform(corners, crop_matrices(centre, scale, (96, 128), aspect="stretch"))
    np.testing.assert_allclose(mapped, [[[0, 0], [96, 128]]], atol=1e-4)


def test_unknown_words_are_refused():
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    with pytest.raises(UsageError, match="known: keep, stretch"):
        centre_and_scale(box, (96, 128), aspect="squeeze")
    with pytest.raises(UsageError, match="known: plain, dark, udp"):
        crop_matrices(*centre_and_scale(box, (96, 128)), (96, 128), geometry="round")


def test_dcpose_pipeline_crops():
    file = SHARED / "dcpose_pipeline.json"
    if not file.is_file():
        pytest.skip("the shared golden files are not here")
    import orjson

    case_list = orjson.loads(file.read_bytes())["crop_cases"]
    pictures = np.load(SHARED / "dcpose_pipeline.npz")
    y, x = np.mgrid[0:480, 0:640]
    image = np.stack([x * 255 // 639, y * 255 // 479, (x + y) * 255 // 1118], axis=-1).astype(np.uint8)
    for case in case_list:
        left, top, width, height = case["box_xywh"]
        centre, scale = centre_and_scale(np.array([[left, top, left + width, top + height]]), (288, 384))
        scale = scale * np.float32(case["extra_scale"])
        np.testing.assert_allclose(centre[0], case["center"], rtol=1e-6)
        np.testing.assert_allclose(scale[0], case["scale"], rtol=1e-6)
        matrix = crop_matrices(centre, scale, (288, 384), rotation=case["rotation_deg"])
        np.testing.assert_allclose(matrix[0], case["trans_img_to_input_2x3"], rtol=1e-5, atol=1e-4)
        back = image_matrices(centre, scale, (72, 96))
        np.testing.assert_allclose(back[0], case["trans_heatmap_to_img_2x3_rot0"], rtol=1e-6, atol=1e-4)
        mapped = transform(np.array([case["points_img"]], dtype=float), matrix)[0]
        np.testing.assert_allclose(mapped, case["points_input"], atol=5e-3)
        crop = warp(image, matrix[0], (288, 384))
        # Made with OpenCV 5: at most 2 grey levels apart in under 1 % of the values (golden README).
        gap = np.abs(crop[::4, ::4].astype(int) - pictures[f"crop_{case['name']}"])
        assert gap.max() <= 2 and (gap > 0).mean() < 0.01
        np.testing.assert_allclose(crop.mean(axis=(0, 1)), case["crop_channel_mean"], atol=0.011)
