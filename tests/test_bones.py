"""Bones against the original's numbers, and errors of poses in space by hand."""

from pathlib import Path

import numpy as np

from harness.scoring.bones import (
    HUMAN36M_BONES,
    bone_directions,
    bone_lengths,
    bone_spread,
    joint_shifts,
    mean_joint_error,
)

GOLDEN = np.load(Path(__file__).parent / "data" / "anatomy.npz")
JOINTS = GOLDEN["joints"]


def test_the_bones_are_the_originals() -> None:
    assert GOLDEN["bone_index"].tolist() == [list(bone) for bone in HUMAN36M_BONES]


def test_lengths_directions_and_shifts_equal_the_original() -> None:
    np.testing.assert_allclose(bone_lengths(JOINTS), GOLDEN["length"], rtol=1e-6)
    directions = bone_directions(JOINTS)
    assert any(
        np.allclose(sign * directions[:, frame], GOLDEN["direction"], atol=1e-6)
        for frame in range(JOINTS.shape[1]) for sign in (1, -1)
    )  # fmt: skip
    np.testing.assert_allclose(joint_shifts(JOINTS), GOLDEN["joint_shift"], rtol=0, atol=1e-6)


def test_a_bone_without_length_has_no_direction() -> None:
    directions = bone_directions(np.zeros((2, 3)), ((0, 1),))
    assert np.isnan(directions).all()


def test_errors_leave_out_what_is_not_known_and_where_the_body_stands() -> None:
    true = np.zeros((2, 3, 3))
    found = true + 5.0
    found[0, 1, 0] += 3
    found[1, 2] = np.nan
    assert mean_joint_error(found, true) == 3 / 5
    assert mean_joint_error(found, true, root=None) > 5
    assert np.isnan(mean_joint_error(found * np.nan, true))


def test_the_spread_of_a_rigid_body_is_nothing_however_it_turns() -> None:
    body, turns = JOINTS[0, 0].astype(float), np.linspace(0, 3, 7)
    track = [body @ np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in turns]
    np.testing.assert_allclose(bone_spread(np.array(track)), 0, atol=1e-12)
    track[3] = track[3] * 1.2
    assert (bone_spread(np.array(track)) > 0.05).all()
    assert np.isnan(bone_spread(np.full((2, 17, 3), np.nan))).all()
