"""RegDA's labels, losses and schedules against the release's numbers, and what each does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.training.adaptation import (
    Adversary,
    disparity,
    map_divergence,
    pseudo_false,
    pseudo_truth,
    scale_gradient,
    scale_of,
)
from harness.training.recipe import Recipe
from harness.training.recipes import open_recipe
from harness.training.schedule import learning_rate

GOLDEN = np.load(Path(__file__).parent / "data" / "regda.npz")
VALUES = json.loads(str(GOLDEN["values"]))
MAPS, ADVERSARY, WEIGHTS = (torch.from_numpy(GOLDEN[name].astype(np.float32)) for name in ("y", "y_adv", "weight"))


def test_pseudo_labels_are_the_releases() -> None:
    truth = pseudo_truth(MAPS)
    np.testing.assert_allclose(truth.numpy(), GOLDEN["ground_truth"].astype("f4"), rtol=0, atol=1e-6)
    np.testing.assert_allclose(pseudo_false(truth).numpy(), GOLDEN["ground_false"].astype("f4"), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("least", [0.0, 1e-7])
@pytest.mark.parametrize("weighted", [False, True])
def test_disparities_and_their_gradients_are_the_releases(mode: str, least: float, weighted: bool) -> None:
    name = f"disparity_{mode}_eps{least:g}_{'w' if weighted else 'now'}"
    adversary = ADVERSARY.clone().requires_grad_()
    loss = disparity(MAPS, adversary, WEIGHTS if weighted else None, astray=mode == "max", least=least)
    assert loss.item() == pytest.approx(VALUES[name], rel=2e-6)
    loss.backward()
    assert adversary.grad.abs().sum().item() == pytest.approx(VALUES[f"{name}_gradabs"], rel=1e-5)


def test_an_empty_target_teaches_nothing_where_the_release_has_no_number() -> None:
    assert np.isnan(VALUES["kl_zero_target_eps0"]) and np.isnan(VALUES["kl_zero_target_weight0_eps0"])
    wanted = pseudo_truth(MAPS)
    wanted[0, 0] = 0
    logits = ADVERSARY.clone().requires_grad_()
    loss = map_divergence(logits, wanted)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all() and not logits.grad[0, 0].any()


def test_schedules_are_the_releases() -> None:
    heads = Recipe(learning_rate=0.1, schedule="power")
    assert open_recipe("regda").schedule == "power"
    for iteration, value in VALUES["lambda_by_iteration"].items():
        assert scale_of(int(iteration)) == pytest.approx(value, abs=1e-8), iteration  # float32 there
    for iteration, value in VALUES["lr_head_by_iteration"].items():
        assert learning_rate(heads, int(iteration), 30_000) == pytest.approx(value, rel=1e-9), iteration


def test_gradients_come_back_scaled_and_not_reversed() -> None:
    features = torch.ones(2, 3, requires_grad=True)
    (3 * scale_gradient(features, 0.25)).sum().backward()
    assert (features.grad == 0.75).all()


def test_the_adversary_goes_astray_and_comes_back() -> None:
    torch.manual_seed(0)
    maps = torch.zeros(2, 3, 16, 16)
    for joint, (x, y) in enumerate([(3, 3), (12, 4), (6, 12)]):
        maps[:, joint, y, x] = 1
    features = torch.cat([pseudo_truth(maps), torch.rand(2, 1, 16, 16)], dim=1)
    head = Adversary(4, 3)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.02)
    where = {}
    for astray in (True, False):
        for _ in range(60):
            loss = disparity(maps, head(features), astray=astray)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            found = pseudo_truth(head(features).flatten(2).softmax(-1).view_as(maps))
            own = pseudo_truth(maps)
        where[astray] = (found * own).amax((2, 3)).mean().item()
    assert where[True] < 0.5 < where[False]
