"""DSNT's losses against the original's numbers, and that a network of maps learns by them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.codecs import DsntCodec, Targets, build_codec
from harness.codecs.dsnt import expected_cells
from harness.errors import UsageError
from harness.methods import methods
from harness.training import losses, open_recipe
from harness.training.coordinate_losses import distance, js_divergence, kl_divergence, normalised, variance_error
from harness.training.losses import check_loss, loss_of

GOLDEN = np.load(Path(__file__).parent / "data" / "codecs" / "dsnt.npz")


def golden(shape: str, name: str) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[f"{shape}/{name}"])


@pytest.mark.parametrize("shape", ["rect", "square"])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_regularisers_equal_the_original(shape: str, sigma: float) -> None:
    maps, wanted = golden(shape, "heatmaps"), golden(shape, f"gauss_{sigma}")
    torch.testing.assert_close(kl_divergence(maps, wanted), golden(shape, f"kl_{sigma}"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(js_divergence(maps, wanted), golden(shape, f"js_{sigma}"), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(variance_error(maps, sigma**2), golden(shape, f"var_{sigma}"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", ["rect", "square"])
def test_distance_total_and_gradient_equal_the_original(shape: str) -> None:
    logits = golden(shape, "logits").requires_grad_()
    grid = logits.shape[-1], logits.shape[-2]
    cells = expected_cells(golden(shape, "heatmaps"))
    torch.testing.assert_close(normalised(cells, grid), golden(shape, "coords_normalised"), rtol=0, atol=2e-6)
    wanted = golden(shape, "target_px")
    torch.testing.assert_close(distance(cells, wanted, grid), golden(shape, "euclidean"), rtol=1e-5, atol=2e-6)
    targets = Targets(golden(shape, "gauss_1.0"), golden(shape, "mask"), places=wanted)
    loss = losses["dsnt_js"](logits, targets)
    assert loss.item() == pytest.approx(float(golden(shape, "total_js_masked")), rel=1e-5)
    loss.backward()
    torch.testing.assert_close(logits.grad, golden(shape, "grad_logits"), rtol=1e-4, atol=1e-6)


def test_a_map_that_is_its_target_costs_nothing() -> None:
    codec = DsntCodec(size=(64, 64), sigma=1.0)
    joints, weights = torch.tensor([[[30.0, 33.0], [500.0, 0.0]]]), torch.ones(1, 2)
    targets = codec.encode(joints, weights)
    assert targets.weights.tolist() == [[1, 0]]
    logits = (targets.values + 1e-24).log()
    for name in ("dsnt", "dsnt_js", "dsnt_kl", "dsnt_variance"):
        assert losses[name](logits, targets).item() == pytest.approx(0, abs=1e-5), name


def test_the_joint_that_does_not_count_has_no_gradient() -> None:
    codec = DsntCodec(size=(32, 32), sigma=1.0)
    targets = codec.encode(torch.tensor([[[10.0, 10.0], [float("nan"), 3.0]]]), torch.ones(1, 2))
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    losses["dsnt_js"](logits, targets).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert logits.grad[:, 0].abs().max() > 0 == logits.grad[:, 1].abs().max()


def test_a_network_learns_by_it() -> None:
    card = methods["hrnet"]
    assert open_recipe(card.recipe("tiny-dsnt")).loss == "dsnt_js"
    preset = card.presets["tiny-dsnt"]
    torch.manual_seed(0)
    module, codec = card.build(preset.options), build_codec(preset)
    check_loss("dsnt_js", module, codec.form)
    clips = torch.rand(2, 1, 3, 128, 96)
    targets = codec.encode(torch.tensor([[40.0, 60.0], [70.0, 20.0]])[:, None].expand(2, 17, 2), torch.ones(2, 17))
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    seen = []
    for _ in range(12):
        loss = loss_of("dsnt_js", module, clips, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(loss.item())
    assert min(seen[-3:]) < 0.8 * seen[0], seen


def test_other_codecs_have_no_places() -> None:
    preset = methods["hrnet"].presets["tiny"]
    targets = build_codec(preset).encode(torch.full((1, 17, 2), 40.0), torch.ones(1, 17))
    with pytest.raises(UsageError, match="codec 'dsnt' alone"):
        losses["dsnt_js"](torch.zeros(1, 17, 32, 24), targets)
