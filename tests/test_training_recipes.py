"""Recipes: what papers and releases state, as data; and what a wrong file is told."""

import numpy as np
import pytest
import torch

from harness.errors import UsageError
from harness.methods import WholeFramePreset, methods
from harness.skeletons import POSETRACK17
from harness.training import Augmentation, Recipe, losses, open_recipe, recipes
from harness.training.averaging import averaged, follow
from harness.training.checkpoint import Progress, restore, save_checkpoint
from harness.training.frame_losses import frame_losses
from harness.training.half_body import half_body_regions
from harness.training.optimiser import make_optimiser, set_rate, set_training
from harness.training.recipe import plain_recipe
from harness.training.schedule import learning_rate


def rates(name: str, *, per_epoch: int = 4) -> list[float]:
    """The learning rate in each epoch of a recipe, which must be the same in all its steps."""
    recipe = open_recipe(name)
    count = int(recipe.epochs)
    found = [learning_rate(recipe, step, count * per_epoch) for step in range(count * per_epoch)]
    assert all(len(set(found[epoch * per_epoch : (epoch + 1) * per_epoch])) == 1 for epoch in range(count))
    return found[::per_epoch]


def test_every_recipe_opens_and_its_loss_exists():
    for name in recipes:
        loss = open_recipe(name).loss
        assert (loss in losses) != (loss in frame_losses), name


def test_recipes_of_a_preset_have_a_loss_of_its_kind():
    for name in methods:
        card = methods[name]
        for preset, content in card.presets.items():
            kind = frame_losses if isinstance(content, WholeFramePreset) else losses
            assert open_recipe(card.recipe(preset)).loss in kind, (name, preset)


def test_tiny_is_what_was_always_done():
    assert open_recipe("tiny") == Recipe()


def test_every_preset_has_a_recipe():
    for name in methods:
        card = methods[name]
        for preset in card.presets:
            assert card.recipe(preset) in recipes
            assert "tiny" in card.recipe(preset) or not preset.startswith("tiny"), (name, preset)


def test_milestones_fall_where_the_release_has_them():
    assert rates("dcpose-pt17") == pytest.approx([1e-3] * 5 + [1e-4] * 4 + [1e-5] * 4 + [1e-6] * 4 + [1e-7] * 3)
    assert rates("dcpose-paper")[::4] == pytest.approx([1e-4 * 0.9**n for n in range(5)])
    assert rates("dcpose-pt18")[-1] == pytest.approx(1e-4 * 0.99**4)
    assert rates("fami") == pytest.approx([1e-3] * 8 + [1e-4] * 4 + [1e-5] * 4 + [1e-6] * 5)
    hrnet = rates("hrnet")
    assert len(hrnet) == 210 and [hrnet[n] for n in (169, 170, 199, 200)] == pytest.approx([1e-3, 1e-4, 1e-4, 1e-5])


def test_what_a_recipe_leaves_out_is_its_base():
    fami, base = open_recipe("fami"), open_recipe("dcpose-pt17")
    assert (fami.loss, fami.batch_size) == ("fami_released", 48) and fami.augmentation == base.augmentation
    assert base.moving_norms and base.frozen == ("backbone.",) and not open_recipe("dcpose-paper").moving_norms
    simple = open_recipe("simple_baseline").augmentation
    assert simple == Augmentation(0.3, 40.0, 0.6, 0.0, 0.5, 0.0, 0.0)  # a table is merged, not replaced


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("learning_rat = 1", "learning_rat: unknown field; expected loss"),
        ("loss = 3", "loss: expected text, found 3"),
        ("augmentation = 1", "augmentation: expected an object, found 1"),
        ('optimiser = "sgd"', "optimiser of a recipe is 'sgd', expected adamw or adam"),
        ("milestones = [3]", 'schedule "steps" and milestones belong together'),
        ('schedule = "steps"\nmilestones = [3]', "are epochs; say of how many"),
        ("average = 1.5", "average of a recipe is 1.5, expected a number between 0 and 1"),
        ('base = "tinny"', "did you mean 'tiny'"),
        ('base = "mine.toml"', "is its own base"),
        ("loss = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path, content, line):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=line):
        open_recipe(path)


def test_a_file_may_change_a_named_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "hrnet"\nlearning_rate = 1\naugmentation = {half_body = 0.0}\n')
    mine = open_recipe(str(path))
    assert mine.learning_rate == 1.0 and mine.epochs == 210 and mine.augmentation.rotation == 45
    with pytest.raises(UsageError, match="cannot be read"):
        open_recipe(tmp_path / "none.toml")


def test_linear_and_constant_schedules_by_hand():
    line = Recipe(learning_rate=1.0, warm_up=2, schedule="linear")
    assert [learning_rate(line, step, 6) for step in range(6)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    flat = Recipe(learning_rate=1.0, warm_up=2, schedule="constant")
    assert [learning_rate(flat, step, 5) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_learning_rates_fall_from_layer_to_layer():
    card = methods["vitpose"]
    module = card.build(card.presets["tiny"].options)
    recipe = Recipe(layer_decay=0.5, undecayed=("pos_embed",))
    optimiser = make_optimiser(module, recipe, card.layer_of)
    set_rate(optimiser, 8.0)
    of = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    found = {name: (of[id(p)]["lr"], of[id(p)]["weight_decay"]) for name, p in module.named_parameters()}
    depth = len(module.backbone.blocks)
    assert found["backbone.pos_embed"] == (8.0 * 0.5 ** (depth + 1), 0.0)
    weights = {name: value for name, value in found.items() if name.endswith("mlp.fc1.weight")}
    assert [rate for rate, _ in weights.values()] == [8.0 * 0.5 ** (depth - n) for n in range(depth)]
    assert {decay for _, decay in weights.values()} == {0.01}
    assert found["keypoint_head.final_layer.weight"] == (8.0, 0.01)
    with pytest.raises(UsageError, match="needs to know the layers of Linear"):
        make_optimiser(torch.nn.Linear(1, 1), recipe)


def test_norms_of_frozen_parts_stay_or_go_on():
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2))
    for moving in (False, True):
        set_training(module, ("0.",), moving_norms=moving)
        assert module[0].training is moving and module[1].training
    assert [p.requires_grad for p in module.parameters()] == [True] * 4
    make_optimiser(module, Recipe(frozen=("0.",), moving_norms=True))
    assert [p.requires_grad for p in module.parameters()] == [False, False, True, True]


def test_average_follows_by_its_decay_and_copies_counters():
    module = torch.nn.BatchNorm1d(1)
    mean = averaged(module)
    with torch.no_grad():
        module.weight.fill_(3.0)
        module.num_batches_tracked.fill_(7)
    follow(mean, module, decay=0.9, step=0)
    assert mean.weight.item() == pytest.approx(1 + 2 * (1 - 1 / 10)) and mean.num_batches_tracked.item() == 7
    follow(mean, module, decay=0.9, step=1000)
    assert mean.weight.item() == pytest.approx(3 - 0.2 * 0.9) and not mean.weight.requires_grad


# Released: joints in a row from (5, 0) to (325, 160), of which two halves, all known and with the lower ones unknown.
@pytest.mark.parametrize(
    ("upper", "below", "centre", "scale"),
    [
        (True, True, [105.0, 50.0], [1.5, 2.0]),
        (True, False, [105.0, 50.0], [1.5, 2.0]),
        (False, True, [275.0, 135.0], [0.75, 1.0]),
        (False, False, [105.0, 50.0], [1.5, 2.0]),
    ],
)
def test_half_bodies_are_the_released_ones(upper, below, centre, scale):
    """In the release's order of joints the lower body is the last six; ours is told by name, so sort them so."""
    lower = [name.endswith(("hip", "knee", "ankle")) for name in POSETRACK17.names]
    order = np.argsort(np.array(lower), kind="stable")
    joints, known = np.zeros((1, 17, 2)), np.ones((1, 17), bool)
    joints[0, order] = [[5 + 20 * n, 10 * n] for n in range(17)]
    # as in the golden file, two of the six lower joints known are not enough
    known[0, order[13:]] = below
    possible, middle, sides = half_body_regions(joints, known, POSETRACK17, (288, 384), upper=np.array([upper]))
    assert possible.tolist() == [True]
    np.testing.assert_allclose(middle[0], centre, atol=1e-4)
    np.testing.assert_allclose(sides[0], scale, atol=1e-4)


def test_few_joints_make_no_half_body():
    joints, known = np.ones((1, 17, 2)), np.zeros((1, 17), bool)
    known[0, :8] = True
    assert not half_body_regions(joints, known, POSETRACK17, (96, 128), upper=np.array([True]))[0].any()


def test_checkpoints_from_before_there_was_a_choice_go_on(tmp_path):
    module = torch.nn.Linear(2, 2)
    now = {"preset_content": "Preset(ends='clamp', recurrent=())", "recipe": plain_recipe(Recipe()), "seed": 0}
    old_recipe = {key: value for key, value in now["recipe"].items() if key not in ("schedule", "average", "betas")}
    old_recipe["augmentation"] = {"scale": 0.12}
    old = {**now, "preset_content": "Preset(ends='clamp')", "recipe": old_recipe}
    parts = {"module": module, "optimiser": make_optimiser(module, Recipe())}
    save_checkpoint(tmp_path / "old.pt", parts, Progress(step=3), old)
    assert restore(tmp_path / "old.pt", parts, now).step == 3
    with pytest.raises(UsageError, match=r"another training \(recipe differ\)"):
        restore(tmp_path / "old.pt", parts, {**now, "recipe": plain_recipe(Recipe(average=0.9))})
