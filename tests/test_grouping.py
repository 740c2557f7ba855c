"""Grouping against the releases: assignment, tags, centres and offsets; and what must not change it."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import frame_golden, read_json
from torch.nn.functional import interpolate

from harness.errors import UsageError
from harness.grouping import AssociativeEmbedding, CentreOffsets, Pass, TagRule, assign, match_tags, strongest
from harness.grouping.embedding import adjusted, completed, mean_maps, visiting_order
from harness.grouping.offsets import aligned, distinct, pose_maps, proposals
from harness.grouping.queries import best_queries
from harness.skeletons import COCO17, POSETRACK15, POSETRACK17

DATA = Path(__file__).parent / "data" / "whole_frame"
FLIP = torch.from_numpy(COCO17.flip_order)


def test_assignment_takes_the_classic_solvers_answer_among_equal_ones() -> None:
    cases = json.loads((DATA / "assignment_ties.json").read_text())["cases"]
    assert len(cases) == 60
    assert [assign(np.array(case["cost"])) for case in cases] == [
        [tuple(pair) for pair in case["pairs"]] for case in cases
    ]


def test_assignment_is_cheapest() -> None:
    draw = np.random.default_rng(1)
    for rows, columns in itertools.product((1, 2, 4), (1, 3, 4)):
        cost = draw.integers(0, 9, (rows, columns)).astype(float)
        pairs = assign(cost)
        tall = cost if rows <= columns else cost.T
        best = min(
            sum(tall[row, column] for row, column in enumerate(chosen))
            for chosen in itertools.permutations(range(tall.shape[1]), len(tall))
        )
        assert len(pairs) == min(rows, columns) and sum(cost[pair] for pair in pairs) == best
    assert assign(np.zeros((0, 3))) == []
    with pytest.raises(ValueError, match="finite"):
        assign(np.array([[1.0, np.nan]]))


@pytest.mark.parametrize(
    ("case", "file"),
    [("three_people", 1), ("six_close_tags", 1), ("no_detection_val", 1), ("one_tag_channel", 2),
     ("max3_ignore_too_much", 2), ("max3_no_ignore", 2), ("mostly_missing", 2)],
)  # fmt: skip
def test_tags_group_as_in_the_release(case: str, file: int) -> None:
    archive = frame_golden(f"ae_grouping_{file}.npz", f"{case}/")
    spec = next(item for item in read_json(archive, "spec")["cases"] if item["name"] == case)
    maps, tags = (torch.from_numpy(archive[f"{spec['maps_of']}/{name}"])[None] for name in ("heatmaps", "tags"))
    found = strongest(maps, spec["max_num_people"], kernel=5)
    read = tags.flatten(2, 3).gather(2, found.cells[..., None].expand(-1, -1, -1, tags.shape[-1]))
    rule = TagRule(
        most_people=spec["max_num_people"], skip_when_full=spec["ignore_too_much"],
        value_breaks_ties=spec["use_detection_val"],
    )  # fmt: skip
    places = torch.stack([found.x, found.y], dim=-1)[0].float().numpy()
    poses = match_tags(found.values[0].numpy(), places, read[0].numpy(), visiting_order(COCO17), rule)
    moved = adjusted(poses, maps[0])
    np.testing.assert_array_equal(poses, archive[f"{case}/grouped"])
    np.testing.assert_array_equal(moved, archive[f"{case}/adjusted"])
    np.testing.assert_array_equal(completed(moved, maps[0], tags[0]), archive[f"{case}/refined"])
    np.testing.assert_allclose(moved[:, :, 2].mean(axis=1), archive[f"{case}/scores"], rtol=1e-6)


@pytest.mark.parametrize(
    "case",
    ["same_tag_first_joint", "equidistant", "at_threshold", "more_candidates", "equal_cost", "first_joint_absent"],
)
def test_ties_of_candidates_are_settled_as_in_the_release(case: str) -> None:
    archive = frame_golden("ae_grouping_1.npz", "tie/")
    values, tags = archive[f"tie/{case}/values"], archive[f"tie/{case}/tags"]
    places = np.stack(np.broadcast_arrays(np.arange(values.shape[1]), np.arange(17)[:, None]), axis=-1)
    poses = match_tags(values, places.astype(np.float32), tags, visiting_order(COCO17), TagRule())
    np.testing.assert_array_equal(poses, archive[f"tie/{case}/grouped"])


def test_joints_are_visited_from_the_head_outwards() -> None:
    order = [POSETRACK15.names[index] for index in visiting_order(POSETRACK15)]
    assert order[:5] == ["head_bottom", "nose", "head_top", "left_shoulder", "right_shoulder"]
    assert order[5:7] == ["left_hip", "right_hip"] and sorted(order) == sorted(POSETRACK15.names)
    assert visiting_order(POSETRACK17) == visiting_order(COCO17)


def painted(people: list[tuple[float, float, float]], *, size: int = 64) -> list[torch.Tensor]:
    """Outputs for people at (x, y) with a tag: joint j lies j px below, all on one level twice as fine as the tags."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    maps, tags = torch.zeros(17, size, size), torch.zeros(17, size, size)
    for left, top, tag in people:
        for joint in range(17):
            blob = torch.exp(-((x - left) ** 2 + (y - top - 2 * joint) ** 2) / 4.0)
            maps[joint] = torch.maximum(maps[joint], blob * (1 - 0.01 * tag))
            tags[joint] = torch.where(blob > 0.05, tag, tags[joint])
    coarse = torch.cat([maps, tags])[None, :, ::2, ::2]
    return [coarse, maps[None]]


PEOPLE = [(10.0, 4.0, 1.0), (30.0, 12.0, 4.0), (50.0, 20.0, 7.0)]


def test_persons_do_not_depend_on_their_order_or_on_the_batch() -> None:
    grouping, order = AssociativeEmbedding(), torch.from_numpy(POSETRACK17.flip_order)
    alone = grouping.people([Pass(1.0, painted(PEOPLE))], (128, 128), flip_order=order)[0]
    assert len(alone) == 3
    for left in range(17):
        found = np.sort(alone.joints[:, left, 0] / 2)
        np.testing.assert_allclose(found, [10, 30, 50], atol=1.0)
    turned = grouping.people([Pass(1.0, painted(PEOPLE[::-1]))], (128, 128), flip_order=order)[0]
    np.testing.assert_array_equal(alone.joints, turned.joints)
    other = painted(PEOPLE[:1])
    together = [torch.cat(parts) for parts in zip(other, painted(PEOPLE), other, strict=True)]
    batch = grouping.people([Pass(1.0, together)], (128, 128), flip_order=order)
    assert [len(people) for people in batch] == [1, 3, 1]
    np.testing.assert_array_equal(batch[1].joints, alone.joints)
    np.testing.assert_array_equal(batch[1].scores, alone.scores)


def test_nobody_is_found_in_empty_maps() -> None:
    empty = [torch.zeros(2, 34, 16, 16), torch.zeros(2, 17, 32, 32)]
    found = AssociativeEmbedding().people([Pass(1.0, empty)], (64, 64), flip_order=FLIP)
    assert [len(people) for people in found] == [0, 0] and found[0].joints.shape == (0, 17, 2)
    flat = (torch.zeros(1, 18, 16, 16), torch.zeros(1, 34, 16, 16))
    assert len(CentreOffsets().people([Pass(1.0, flat)], (64, 64), flip_order=FLIP)[0]) == 0


def test_tags_need_scale_one() -> None:
    passes = [Pass(scale, painted(PEOPLE)) for scale in (2.0, 0.5)]
    with pytest.raises(UsageError, match="put 1 among the scales"):
        mean_maps(passes, (128, 128), FLIP)


def test_maps_are_enlarged_with_cells_on_pixels() -> None:
    archive = frame_golden("dekr_grouping.npz", "up/")
    for factor in (2, 4, 8):
        np.testing.assert_array_equal(
            aligned(torch.from_numpy(archive["up/x"]), factor).numpy(), archive[f"up/y{factor}"]
        )


@pytest.mark.parametrize(("near", "joints"), [("0.05", 8), ("0.15", 10), ("0.3", 8)])
def test_poses_of_one_person_are_told_apart_as_in_the_release(near: str, joints: int) -> None:
    archive = frame_golden("dekr_grouping.npz", "nms/")
    kept = distinct(archive["nms/poses"], archive["nms/heat_scores"], near=float(near), joints=joints)
    assert kept.tolist() == archive[f"nms/keep_{near}_{joints}"].tolist()


def test_a_pose_without_extent_is_nobody() -> None:
    assert distinct(np.zeros((1, 17, 2), dtype=np.float32), np.ones(1, dtype=np.float32), near=0.05, joints=8).size == 0


@pytest.mark.parametrize(
    ("case", "scales", "grouping"),
    [
        ("single", [1.0], CentreOffsets()),
        ("crowd_default_thresholds", [1.0], CentreOffsets(near=0.15, near_joints=10)),
        ("multi", [2.0, 1.0, 0.5], CentreOffsets()),
    ],
)
def test_centres_and_offsets_group_as_in_the_release(case: str, scales: list[float], grouping: CentreOffsets) -> None:
    archive = frame_golden("dekr_grouping.npz", f"{case}/")
    heatmaps, offsets = (torch.from_numpy(archive[f"{case}/{name}"]) for name in ("heatmap", "offset"))
    passes = []
    for scale in scales:
        outputs = heatmaps, offsets
        if scale != 1:
            resized = [interpolate(part, scale_factor=scale, mode="bilinear") for part in outputs]
            outputs = resized[0], scale * resized[1]
        passes.append(Pass(scale, outputs))
    for number, item in enumerate(passes):
        maps, places = pose_maps(item, FLIP)
        poses, scores = (part[0].numpy() for part in proposals(maps[:, -1:], places, 30))
        poses, scores = grouping.stacked([(poses, scores)], [item.scale])
        np.testing.assert_allclose(poses, archive[f"{case}/proposals_{number}"][:, :, :2], atol=1e-4)
    found = grouping.people(passes, (4 * heatmaps.shape[3], 4 * heatmaps.shape[2]), flip_order=FLIP)[0]
    np.testing.assert_allclose(found.joints, archive[f"{case}/final"][:, :, :2], atol=1e-4)
    np.testing.assert_allclose(found.scores, archive[f"{case}/final"][:, :, 2], atol=1e-7)
    np.testing.assert_allclose(found.person_scores, archive[f"{case}/scores"], atol=1e-6)


def test_each_joint_takes_a_query_of_its_own() -> None:
    weights = torch.tensor([[[0.9, 0.1], [0.1, 0.8]], [[0.9, 0.8], [0.5, 0.1]]])
    assert best_queries(weights).tolist() == [[0, 1], [1, 0]]
