"""Deformable convolution against the goldens, forward and backward, and against plain convolution."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from golden_fill import read_json
from torch.nn.functional import conv2d

from baselines.layers import deformable
from baselines.layers.deformable import DeformableConvolution, deform_conv2d, deform_conv2d_in_torch

GOLDEN = Path(__file__).parent / "data" / "layers" / "dcn_deform_conv.npz"
CASES = range(6)
#: Case 5 has samples exactly on pixels, where the gradient of a bilinear sample has two values.
ONE_SIDED = 5


def load_case(number: int):
    data = np.load(GOLDEN)
    prefix = f"case{number}_"
    arrays = {key.removeprefix(prefix): torch.from_numpy(data[key]) for key in data.files if key.startswith(prefix)}
    shape = read_json(data, "cases_json")[number]
    return arrays, {"stride": shape["s"], "padding": shape["p"], "dilation": shape["d"]}


def close(ours: torch.Tensor, expected: torch.Tensor, name: str = "") -> None:
    np.testing.assert_allclose(ours.detach(), expected, rtol=1e-5, atol=2e-5 * expected.std().item(), err_msg=name)


@pytest.mark.parametrize("number", CASES)
def test_forward_and_backward_equal_the_golden(number: int) -> None:
    case, geometry = load_case(number)
    names = ("x", "offset", "mask", "weight", "bias")
    x, offset, mask, weight, bias = (case[name].clone().requires_grad_() for name in names)
    result = deform_conv2d(x, offset, weight, bias, mask=mask, **geometry)
    close(result, case["y_dcnv2"])
    close(deform_conv2d(x, offset, weight, **geometry), case["y_dcnv1"])
    (result * case["r"]).sum().backward()
    for name, tensor in zip(names, (x, offset, mask, weight, bias), strict=True):
        if (number, name) != (ONE_SIDED, "offset"):
            close(tensor.grad, case[f"grad_{name}"], name)


def test_gradient_of_offsets_off_the_pixels_is_exact() -> None:
    case, geometry = load_case(ONE_SIDED)
    offset = case["offset"].clone().requires_grad_()
    (
        deform_conv2d(case["x"], offset, case["weight"], case["bias"], mask=case["mask"], **geometry) * case["r"]
    ).sum().backward()
    fraction = case["offset"] - case["offset"].floor()
    between = (fraction > 1e-4) & (fraction < 1 - 1e-4)
    assert between.sum() > 50
    close(offset.grad[between], case["grad_offset"][between])


def test_zero_offsets_are_plain_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 6, 9, 7, generator=generator), torch.randn(4, 3, 3, 3, generator=generator)
    offset = torch.zeros(2, 18, 5, 4)
    ours = deform_conv2d(x, offset, weight, stride=2, padding=1)
    torch.testing.assert_close(ours, conv2d(x, weight, stride=2, padding=1, groups=2), rtol=1e-5, atol=1e-5)


def test_a_map_of_one_pixel() -> None:
    """By hand: half a pixel to the right leaves half of the value; a whole one, nothing."""
    one, weight = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    values = [deform_conv2d(one, torch.tensor([0.0, right]).view(1, 2, 1, 1), weight).item() for right in (0, 0.5, 1)]
    assert values == pytest.approx([1, 0.5, 0])


def test_batch_does_not_matter() -> None:
    case, geometry = load_case(1)
    rest = {"mask": case["mask"], **geometry}
    whole = deform_conv2d(case["x"], case["offset"], case["weight"], case["bias"], **rest)
    rest["mask"] = case["mask"][1:]
    alone = deform_conv2d(case["x"][1:], case["offset"][1:], case["weight"], case["bias"], **rest)
    torch.testing.assert_close(whole[1:], alone)


def test_gradients_against_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    module = DeformableConvolution(2, 2, dilation=2)
    x = torch.randn(1, 2, 5, 5, generator=generator)
    offset = 0.3 + 0.2 * torch.rand(1, 36, 5, 5, generator=generator)
    mask = torch.rand(1, 18, 5, 5, generator=generator)
    for place, tensor in ((0, x), (1, offset), (2, mask)):
        inputs = [x, offset, mask]
        inputs[place] = tensor.clone().requires_grad_()
        module(*inputs).square().sum().backward()
        step = torch.zeros_like(tensor)
        step.view(-1)[7] = 1e-2
        ends = []
        for sign in (1, -1):
            inputs[place] = tensor + sign * step
            ends.append(module(*inputs).double().square().sum().item())
        inputs[place] = tensor.clone().requires_grad_()
        module(*inputs).square().sum().backward()
        assert inputs[place].grad.view(-1)[7].item() == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=1e-3)


def test_identity_start_copies_its_input() -> None:
    module = DeformableConvolution(5, 5, dilation=3, identity=True)
    x = torch.randn(1, 5, 8, 6)
    torch.testing.assert_close(module(x, torch.zeros(1, 18, 8, 6)), x)
    assert set(module.state_dict()) == {"weight", "bias"}


def test_under_autocast_places_stay_exact() -> None:
    """bfloat16 would round an offset of 100.25 px to 100 or 100.5."""
    x = torch.arange(256.0).repeat(1, 1, 4, 1)
    offset = torch.zeros(1, 2, 4, 256)
    offset[:, 1] = 100.25
    weight = torch.ones(1, 1, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = deform_conv2d(x, offset, weight)
        module = DeformableConvolution(17, 17)
        result = module(torch.randn(1, 17, 8, 6), torch.randn(1, 18, 8, 6), torch.randn(1, 9, 8, 6))
    assert inside[0, 0, 0, 27].item() == pytest.approx(127.25, rel=2**-8)
    assert result.isfinite().all()


def test_compiled_graph_gives_the_same() -> None:
    case, geometry = load_case(4)
    rest = {"mask": case["mask"], **geometry}
    plain = deform_conv2d_in_torch(case["x"], case["offset"], case["weight"], case["bias"], **rest)
    graph = torch.compile(deform_conv2d_in_torch, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(graph(case["x"], case["offset"], case["weight"], case["bias"], **rest), plain)


@pytest.mark.skipif(deformable._compiled is None, reason="torchvision's operators do not load here")
@pytest.mark.parametrize("number", CASES)
def test_torchvision_and_plain_torch_agree(number: int) -> None:
    case, geometry = load_case(number)
    rest = {"mask": case["mask"], **geometry}
    arguments = case["x"], case["offset"], case["weight"], case["bias"]
    close(deform_conv2d_in_torch(*arguments, **rest), deform_conv2d(*arguments, **rest))


def fake_torchvision(monkeypatch, function) -> None:
    """A package of that name whose only operator is `function`."""
    package, operators = ModuleType("torchvision"), ModuleType("torchvision.ops")
    package.__spec__ = ModuleSpec("torchvision", None)
    operators.deform_conv2d = function
    package.ops = operators
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.ops", operators)


def test_torchvision_whose_operators_do_not_load_is_left_alone(monkeypatch) -> None:
    def broken(*_arguments):
        raise RuntimeError("Couldn't load custom C++ ops")

    fake_torchvision(monkeypatch, broken)
    assert deformable._find_compiled() is None


def test_torchvision_is_used_where_it_loads(monkeypatch) -> None:
    """By the order of its arguments: input, offset, weight, bias, stride, padding, dilation, mask."""
    calls = []

    def compiled(features, offset, weight, bias=None, stride=1, padding=0, dilation=1, mask=None):
        calls.append((stride, padding, dilation))
        return deform_conv2d_in_torch(
            features, offset, weight, bias, mask=mask, stride=stride, padding=padding, dilation=dilation
        )

    fake_torchvision(monkeypatch, compiled)
    found = deformable._find_compiled()
    assert found is compiled
    monkeypatch.setattr(deformable, "_compiled", found)
    case, geometry = load_case(3)
    close(
        deform_conv2d(case["x"], case["offset"], case["weight"], case["bias"], mask=case["mask"], **geometry),
        case["y_dcnv2"],
    )
    assert calls[-1] == (2, 1, 1)
