"""Lifting: the body's arithmetic, losses by closed form, networks that learn, measures by hand, and the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import WeightsError
from harness.lifting import losses, training
from harness.lifting.body import BODY, BONE_OF, BONES, JOINT_OF, POINT_OF, ROOTED, SHIFT_OF
from harness.lifting.evaluation import lift
from harness.lifting.networks import Anatomy, Parts
from harness.lifting.scores import score_lifted, similar
from harness.lifting.tracks import FEATURES, Tracks, features, mirrored
from harness.lifting.training import NETWORKS, open_networks, train_lifting
from harness.scoring.bones import HUMAN36M_BONES, bone_lengths, joint_shifts, shift_pairs
from harness.weights import parameter_count

GOLDEN = np.load(Path(__file__).parent / "data" / "anatomy.npz")
POSES = GOLDEN["joints"][:, :, :15].astype(float)  # any 15 points do for arithmetic


def turning(count: int = 64, frames: int = 5, seed: int = 0) -> Tracks:
    """One body that turns about the vertical, seen from 4 m by a camera of 300 px; every 8 tracks are a sequence."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 6.3, (count, 1)) + random.uniform(-0.2, 0.2, (count, 1)) * np.arange(frames)
    turn = np.zeros((count, frames, 3, 3))
    turn[..., 1, 1] = 1
    turn[..., 0, 0] = turn[..., 2, 2] = np.cos(angle)
    turn[..., 0, 2], turn[..., 2, 0] = np.sin(angle), -np.sin(angle)
    truth = (ROOTED @ np.random.default_rng(7).normal(0, 0.4, (15, 3))) @ turn
    seen = truth + np.array([0, 0, 4]) + random.uniform(-0.5, 0.5, (count, 1, 1, 3))
    joints = 300 * seen[..., :2] / seen[..., 2:] + np.array([191.5, 107.5])
    known = np.ones((count, frames, 15), dtype=bool)
    return Tracks(joints, known, known[..., 0], truth, np.full((count, 2), (384.0, 216.0)), np.arange(count) // 8)


def test_the_matrices_say_what_the_functions_of_bones_say() -> None:
    points = POINT_OF @ POSES
    np.testing.assert_allclose(np.linalg.norm(BONE_OF @ POSES, axis=-1), bone_lengths(points, BONES), rtol=1e-12)
    np.testing.assert_allclose(SHIFT_OF @ POSES, joint_shifts(points, BONES), atol=1e-12)
    np.testing.assert_allclose(JOINT_OF @ (BONE_OF @ POSES), ROOTED @ POSES, atol=1e-12)
    np.testing.assert_allclose(points[..., -1, :], (points[..., 2, :] + points[..., 3, :]) / 2)  # the hips
    assert len(shift_pairs(17, HUMAN36M_BONES)) == GOLDEN["joint_shift"].shape[2] == 137
    assert (len(BODY), len(BONES), len(SHIFT_OF)) == (16, 14, 16 * 17 / 2 - 14)


def test_losses_by_hand_where_somebody_is_present() -> None:
    truth = torch.from_numpy(ROOTED @ POSES[:1, :2])
    present = torch.tensor([[True, False]])
    wrong = truth.clone()
    wrong[:, 1] += 9.0
    wrong[0, 0, 0] += torch.tensor([0.3, 0.4, 0])  # the right ankle, which one bone joins to the rest
    assert losses.position_loss(wrong, truth, present).item() == pytest.approx(0.5 / 15)
    assert losses.shift_loss(wrong, truth, present).item() == pytest.approx(14 * 0.5 / len(SHIFT_OF))
    lengths = torch.from_numpy(np.linalg.norm(BONE_OF @ POSES[:1, 0], axis=-1))
    assert losses.length_loss(lengths + 0.1, truth, present).item() == pytest.approx(0.01)
    ahead = torch.nn.functional.normalize(torch.from_numpy(BONE_OF @ POSES[:1, :2]), dim=-1)
    assert losses.direction_loss(-ahead, truth, present).item() == pytest.approx(4)
    assert losses.parts_loss(Parts(truth, lengths, ahead, ahead), truth, present).item() == pytest.approx(0, abs=1e-12)
    longer = losses.parts_loss(Parts(truth, lengths + 0.1, ahead, ahead), truth, present)
    first, second = (losses.parts_loss(Parts(truth, lengths, *sides), truth, present) for sides in
                     ((ahead, -ahead), (-ahead, ahead)))  # fmt: skip
    assert longer.item() == pytest.approx(1) and second.item() == pytest.approx(2 * first.item()) and first > 0.6


def test_networks_give_joints_from_the_pelvis_and_lengths_of_present_frames_alone() -> None:
    x, present = torch.randn(3, 6, FEATURES), torch.ones(3, 6, dtype=torch.bool)
    present[:, 4:] = False
    sizes = []
    for name, build in NETWORKS.items():
        network = build().eval()
        joints, parts = network(x, present)
        assert joints.shape == (3, 6, 15, 3) and (parts is not None) == (name == "anatomy")
        assert joints[..., 2:4, :].mean(dim=-2).abs().max() < 1e-6
        sizes.append(parameter_count(network))
        if isinstance(network, Anatomy):
            assert parts.lengths.shape == (3, 14)
            np.testing.assert_allclose(parts.directions.detach().norm(dim=-1), np.ones((3, 6, 14)), rtol=1e-5)
            again = network(torch.cat([x[:, :4], torch.randn(3, 2, FEATURES)], dim=1), present)[1]
            assert torch.equal(again.lengths, parts.lengths)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01) and sizes[2] == 0


def test_features_say_where_somebody_stands_apart_and_mirrors_are_undone() -> None:
    tracks = turning(2)
    moved = Tracks(tracks.joints + np.array([20.0, -9.0]), *list(vars(tracks).values())[1:])
    np.testing.assert_allclose(features(moved)[..., :-3], features(tracks)[..., :-3], atol=1e-5)
    np.testing.assert_allclose(features(moved)[..., -3:] - features(tracks)[..., -3:],
                               np.broadcast_to([40 / 384, -18 / 384, 0], (2, 5, 3)), atol=1e-5)  # fmt: skip
    for name, values in vars(mirrored(mirrored(tracks))).items():
        np.testing.assert_allclose(values, getattr(tracks, name), atol=1e-9)
    left, right = BODY.index("left_wrist"), BODY.index("right_wrist")
    np.testing.assert_allclose(mirrored(tracks).joints[:, :, left, 0], 383 - tracks.joints[:, :, right, 0])


def test_learned_networks_beat_the_mean_pose_on_other_tracks(tmp_path: Path) -> None:
    train_lifting(turning(256), tmp_path, epochs=20)
    others = turning(64, seed=1)
    lifted = {name: lift(network, others)[0] for name, network in open_networks(tmp_path)[0].items()}
    scores = score_lifted(lifted, others, against="mean_pose", replicates=200)
    error = {row["lifter"]: row for row in scores if row["measure"] == "mpjpe_mm"}
    assert error["mean_pose"]["value"] == pytest.approx(
        1000 * np.linalg.norm(others.truth - turning(256).truth.mean(axis=(0, 1)), axis=-1).mean(), rel=0.02
    )  # the mirrored tracks are not in the mean
    for name in ("anatomy", "direct"):
        assert error[name]["value"] < error["mean_pose"]["value"] / 2 and error[name]["change_high"] < 0


def test_measures_by_hand() -> None:
    tracks = turning(64)
    wrong, longer = tracks.truth.copy(), 1.1 * tracks.truth
    wrong[:, :, 0, 1] += 0.15
    spread = tracks.truth * np.array([0.9, 1.0, 1.1, 1.0, 1.0])[:, None, None]
    rows = score_lifted({"wrong": wrong, "longer": longer, "spread": spread}, tracks, against="longer")
    found = {(row["lifter"], row["measure"]): row for row in rows}
    assert found["wrong", "mpjpe_mm"]["value"] == pytest.approx(10)
    assert found["wrong", "mpjpe_mm"]["low"] == pytest.approx(10) == found["wrong", "mpjpe_mm"]["high"]
    assert found["longer", "p_mpjpe_mm"]["value"] == pytest.approx(0, abs=1e-6)
    lengths = bone_lengths(POINT_OF @ tracks.truth, BONES)
    assert found["longer", "length_error_mm"]["value"] == pytest.approx(100 * lengths.mean())
    assert found["spread", "bone_spread"]["value"] == pytest.approx(np.sqrt(0.004))
    change = found["wrong", "mpjpe_mm"]["value"] - found["longer", "mpjpe_mm"]["value"]
    assert found["wrong", "mpjpe_mm"]["change"] == pytest.approx(change)
    few = score_lifted({"wrong": wrong[:40]}, turning(40), against="wrong")
    assert np.isnan(few[0]["low"])


def test_procrustes_turns_scales_and_moves_but_never_mirrors() -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(similar(3 * POSES @ turn + 5, POSES), POSES, atol=1e-9)
    assert np.abs(similar(POSES * np.array([-1, 1, 1]), POSES) - POSES).max() > 0.1


SMOKE = ("--dataset", "synthtrack-smoke")


def test_train_is_interrupted_continues_to_the_same_weights_and_eval_judges_them(
    harness, tmp_path, monkeypatch
) -> None:
    def train(folder: str, *more: object):
        return harness("lift", "train", *SMOKE, "--epochs", 2, "-o", tmp_path / folder, *more)

    with monkeypatch.context() as patch:
        calls = []
        save = training.save_checkpoint
        patch.setattr(training, "save_checkpoint", lambda *rest: (save(*rest), calls.append(1), 1 / (3 - len(calls))))
        with pytest.raises(ZeroDivisionError):  # as killed: after the first epoch of the second network
            train("broken")
        patch.setattr(training, "_epoch", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
        answer = train("broken")
        assert answer.code == 130 and len(answer.err.strip().splitlines()) == 1
    answer = train("broken", "--seed", 1)
    assert answer.code == 2 and "another training" in answer.err and len(answer.err.strip().splitlines()) == 1
    assert harness("lift", "eval", *SMOKE, "--weights", tmp_path / "broken").code == 4
    assert (train("broken").code, train("whole").code) == (0, 0)
    for name in NETWORKS:
        assert (tmp_path / f"broken/{name}.safetensors").read_bytes() == (
            tmp_path / f"whole/{name}.safetensors"
        ).read_bytes()
    where = ("--weights", tmp_path / "whole", "--results", tmp_path)
    answer = harness("lift", "eval", *SMOKE, *where, "--format", "json")
    document = json.loads(answer.out)
    stored = [json.loads(path.read_text()) for path in (tmp_path / "lifting").iterdir()]
    assert answer.code == 0 and stored == [document] and document["training"]["epochs"] == 2
    value = {(row["lifter"], row["measure"]): row["value"] for row in document["scores"]}
    assert value["truth", "mpjpe_mm"] == 0 < value["truth", "bone_spread"] < 0.005
    assert value["anatomy_bones", "bone_spread"] < 1e-3 < value["direct", "bone_spread"]
    assert "outside PoseTrack" in answer.err

    made = harness("eval", "--method", "mean_pose", *SMOKE, "--results", tmp_path, "--no-plots", "--no-floor")
    assert made.code == 0, made.err
    answer = harness("lift", "eval", *SMOKE, *where, "--run", "mean_pose")
    assert answer.code == 0 and "joints seen: mean_pose-" in answer.err and "mean_pose  " in answer.out
    answer = harness("lift", "eval", *SMOKE, *where, "--run", "mean_pose", "--split", "train")
    assert answer.code == 2 and "other labels" in answer.err


@pytest.mark.parametrize(("name", "code"), [("posetrack18", 2), ("synthtrack-smok", 2), ("synthtrack-smoke", 3)])
def test_data_without_joints_in_space_are_refused_in_a_line(
    harness, smoke_val, tmp_path, monkeypatch, name, code
) -> None:
    copied = shutil.copytree(smoke_val.parents[3], tmp_path / "cache" / "vidpose-harness")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    spoiled = next(copied.glob("synthtrack/*/smoke/val/extras/val/*.json"))
    spoiled.write_text(json.dumps({**json.loads(spoiled.read_text()), "joints_3d": [[1, 2]]}))
    answer = harness("lift", "eval", "--dataset", name)
    assert (
        answer.code == code and len(answer.err.strip().splitlines()) == 1 and (code == 2 or spoiled.name in answer.err)
    )


def test_networks_of_different_trainings_are_not_compared(tmp_path: Path) -> None:
    for seed in (0, 1):
        train_lifting(turning(8), tmp_path / str(seed), epochs=1, seed=seed)
    shutil.copy(tmp_path / "1" / "direct.safetensors", tmp_path / "0")
    with pytest.raises(WeightsError, match="different trainings"):
        open_networks(tmp_path / "0")
    (tmp_path / "0" / "anatomy.checkpoint").write_bytes(b"half")
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        train_lifting(turning(8), tmp_path / "0", epochs=1)
