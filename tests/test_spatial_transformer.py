"""The spatial transformer: there and back again is nothing, and each branch teaches whom it should."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baselines.layers.hrnet import TINY, HRNetPose
from baselines.layers.recentring import Localisation, centred, inverse, on_cells, resampled
from baselines.spatial_transformer import Recentred, behind
from harness.codecs import build_codec
from harness.codecs.dsnt import expected_cells
from harness.errors import UsageError
from harness.methods import methods
from harness.training import open_recipe
from harness.training.losses import check_loss, loss_of
from harness.weights import find_weights

TURN = torch.tensor([[[0.85, 0.1, 0.12], [-0.06, 0.95, -0.15]]])


def blob(x: float, y: float, *, width: int = 96, height: int = 128, sigma: float = 9.0) -> torch.Tensor:
    columns, rows = torch.arange(width), torch.arange(height)
    return torch.exp(-((rows[:, None] - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))[None, None]


class Picked(torch.nn.Module):
    """Maps whose cell c shows px 4 c, as the plain geometry has it."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips[:, 0, :1, ::4, ::4]


class Spread(torch.nn.Module):
    """Maps whose corner cells show the corner px, as UDP has it."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(clips[:, 0, :1], size=(32, 24), mode="bilinear", align_corners=True)


def test_the_inverse_undoes() -> None:
    whole = torch.cat([TURN, torch.tensor([[[0.0, 0.0, 1.0]]])], dim=1)
    expected = torch.linalg.inv(whole)[:, :2]
    torch.testing.assert_close(inverse(TURN), expected)


def test_places_are_kept_in_half_precision() -> None:
    """bfloat16 cannot tell pixels of a wide crop apart, and holds no fine turns."""
    torch.manual_seed(0)
    crops = torch.linspace(0, 1, 192).expand(1, 3, 256, 192).contiguous()
    theta = torch.tensor([[[0.93, 0.02, 0.011], [-0.02, 0.97, 0.03]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        still = Localisation(4).eval()(crops)
        read, back, cells = resampled(crops, theta), inverse(theta), on_cells(theta, (48, 64), stride=4)
    assert still.dtype == read.dtype == torch.float32 and torch.equal(still, torch.eye(2, 3)[None])
    torch.testing.assert_close(read, resampled(crops, theta), rtol=0, atol=1e-6)
    assert torch.equal(back, inverse(theta)) and torch.equal(cells, on_cells(theta, (48, 64), stride=4))
    assert resampled(crops.bfloat16(), theta).dtype == torch.bfloat16


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("inner", "geometry"), [(Picked(), "plain"), (Spread(), "udp")])
def test_what_is_straightened_comes_back_to_its_place(axis: int, inner: torch.nn.Module, geometry: str) -> None:
    module = Recentred(inner, geometry=geometry)
    with torch.no_grad():
        module.localisation.answer.bias.copy_((TURN[0] - torch.eye(2, 3)).flatten())
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(96.0), indexing="ij")
    clips = (x, y)[axis].expand(1, 1, 3, -1, -1)  # every px shows where it is, which interpolation keeps exactly
    with torch.no_grad():
        back = module(clips)
        wrong = resampled(inner(resampled(clips[:, 0], TURN)[:, None]), inverse(TURN))
    middle = (..., slice(12, 20), slice(8, 16))
    expected = inner(clips)[middle]
    torch.testing.assert_close(back[middle], expected, rtol=0, atol=1e-3)
    assert (wrong[middle] - expected).abs().max() > 0.05


def test_cells_that_lie_round_their_px_need_nothing() -> None:
    torch.testing.assert_close(on_cells(TURN, (24, 32), stride=1), TURN)


@pytest.mark.parametrize("preset", ["tiny", "tiny-simple_baseline", "tiny-vitpose"])
def test_it_starts_as_the_inner_network(preset: str) -> None:
    torch.manual_seed(0)
    module = methods["spatial_transformer"].build(methods["spatial_transformer"].presets[preset].options).eval()
    clips = torch.rand(2, 1, 3, 128, 96)
    with torch.inference_mode():
        maps = module(clips)
        torch.testing.assert_close(maps, module.inner(clips), rtol=1e-4, atol=1e-5)
    assert maps.shape == (2, 17, 32, 24)


def test_hrnet_behind_it_is_what_it_was() -> None:
    """Not named in the options, as in presets and records from before, or named: the same numbers."""
    card, found = methods["spatial_transformer"], []
    preset = card.presets["tiny"]
    assert preset.options == {"inner": TINY, "width": 8}
    for options in (preset.options, {"method": "hrnet", "preset": "tiny", "width": 8}):
        torch.manual_seed(3)
        found.append(card.build(options).state_dict())
    torch.manual_seed(3)
    found.append(Recentred(HRNetPose(**TINY), width=8).state_dict())
    for other in found[1:]:
        assert list(other) == list(found[0]) and all(torch.equal(other[key], found[0][key]) for key in other)


@pytest.mark.parametrize("method", ["simple_baseline", "vitpose"])
def test_presets_follow_from_who_is_behind(method: str) -> None:
    assert methods["spatial_transformer"].presets[f"tiny-{method}"] == behind(method, "tiny", width=8)


def test_any_method_of_one_frame_and_heatmaps_fits_behind_it() -> None:
    fitting = []
    for name in methods:
        for preset in methods[name].presets:
            try:
                made = behind(name, preset)
            except UsageError as problem:
                assert f"'{name}' ({preset}) does not fit" in str(problem)
                continue
            fitting.append(f"{name} {preset}")
            assert (made.crop, made.codec_options) == (
                methods[name].presets[preset].crop, methods[name].presets[preset].codec_options,
            )  # fmt: skip
            with torch.device("meta"):
                module = methods["spatial_transformer"].build(made.options)
            assert module.geometry == build_codec(made).geometry and module.stride == 4
    assert {name.split()[0] for name in fitting} == {"hrnet", "simple_baseline", "spatial_transformer", "vitpose"}
    assert "hrnet tiny-dsnt" in fitting and "hrnet tiny-udp-offset" not in fitting
    assert behind("vitpose", "b-256x192").options == {
        "method": "vitpose", "preset": "b-256x192", "width": 16, "geometry": "udp",
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"'fami' .* take a method of one frame"):
        methods["spatial_transformer"].build({"method": "fami", "preset": "tiny"})


@pytest.mark.parametrize("preset", ["tiny-simple_baseline", "tiny-vitpose"])
def test_another_network_trains_behind_it(harness, own_cache, tmp_path, preset: str) -> None:
    inner = preset.removeprefix("tiny-")
    done = harness(
        "train", "--method", "spatial_transformer", "--preset", preset, "--dataset", "synthtrack-smoke", "--steps", "2",
        "--batch-size", "4", "--threads", "1", "--start", f"{inner}-tiny", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    before = load_file(find_weights(f"{inner}-tiny")[0])
    after = load_file(tmp_path / "out" / "last.safetensors")
    name = "final_layer.weight" if inner == "simple_baseline" else "keypoint_head.final_layer.weight"
    moved = (after[f"inner.{name}"] - before[name].float()).abs().max()
    assert 0 < moved < 0.05, "it started from the shipped weights of the inner network, and learned"
    assert after["localisation.answer.bias"].abs().max() > 0
    answer = harness(
        "eval", "--method", "spatial_transformer", "--preset", preset, "--dataset", "synthtrack-smoke", "--limit", "1",
        "--weights", tmp_path / "out" / "last.safetensors", "--no-floor", "--no-plots", "--results", tmp_path / "r",
    )  # fmt: skip
    assert answer.code == 0 and f"SSTN ({preset})" in answer.out, answer.err


def test_poses_are_put_in_the_middle() -> None:
    maps = torch.cat([blob(5, 8, width=24, height=32, sigma=1.5), blob(9, 12, width=24, height=32, sigma=1.5),
                      blob(20, 30, width=24, height=32, sigma=1.5)], dim=1)  # fmt: skip
    moved = centred(maps, torch.tensor([[1.0, 1.0, 0.0]]))
    middle = expected_cells(moved[:, :2] / moved[:, :2].sum((2, 3), keepdim=True)).mean(1)[0]
    np.testing.assert_allclose(middle.numpy(), [11.5, 15.5], atol=0.05)


def test_the_second_branch_teaches_the_transformer_alone() -> None:
    card = methods["spatial_transformer"]
    preset = card.presets["tiny"]
    assert open_recipe(card.recipe("tiny")).augmentation.proposals == 0.5
    torch.manual_seed(0)
    module, codec = card.build(preset.options), build_codec(preset)
    check_loss("recentred_cross_entropy", module, codec.form)
    clips = torch.rand(2, 1, 3, 128, 96)
    before = {name: value.clone() for name, value in module.inner.named_buffers()}
    states = module(clips, states=True)
    counted = module.inner.bn1.num_batches_tracked - before["bn1.num_batches_tracked"]
    assert counted == 1, "statistics of the second pass are not counted"
    states.straight.square().mean().backward()
    assert all(value.grad is None for value in module.inner.parameters())
    assert module.localisation.answer.bias.grad.abs().max() > 0
    targets = codec.encode(torch.full((2, 17, 2), 50.0), torch.ones(2, 17))
    loss_of("recentred_cross_entropy", module, clips, targets).backward()
    assert module.inner.conv1.weight.grad.abs().max() > 0


@pytest.mark.parametrize("size", [(96, 128), (192, 256)])
def test_theta_is_the_identity_at_the_start(size: tuple[int, int]) -> None:
    theta = Localisation(4)(torch.rand(2, 3, size[1], size[0]))
    assert (theta == torch.eye(2, 3)).all()
