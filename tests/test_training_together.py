"""Precision and processes: half precision learns, and two processes take the steps of one."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.datasets import open_dataset
from harness.datasets.synthtrack import make
from harness.errors import UsageError
from harness.methods import CropSpec, MethodCard, Preset
from harness.training import Augmentation, Recipe, register_loss, train
from harness.training.losses import StatesLoss
from harness.training.trainer import Trainer


class Plain(torch.nn.Module):
    """Convolutions and a batch norm that a step may call more than once, and a parameter that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Conv2d(8, 17, 3, stride=2, padding=1)
        self.spare = torch.nn.Parameter(torch.ones(1, 3))  # a matrix: vectors are never decayed
        self.repeats = 0

    def begin_step(self) -> None:
        self.repeats = int(torch.randint(4, ()))  # were it not the same in all processes, one would wait for ever

    def forward(self, clips: torch.Tensor, *, states: bool = False) -> torch.Tensor:
        features = self.body(clips[:, 0])
        with torch.no_grad():
            for _ in range(self.repeats if self.training else 0):
                self.norm(features)
        return self.head(torch.relu(self.norm(features)))


PRESET = Preset(CropSpec((24, 32)), "heatmap", codec_options={"sigma": 1.0, "activation": "softmax"})
CARD = MethodCard("plain", "Plain", "for tests", {"test": PRESET}, lambda options: Plain(), "test")
QUICK = Recipe(batch_size=6, held_out=0.25, minimum_joints=3, warm_up=2)


def states_loss(outputs, targets):
    """A plain mean over samples of something that is no loss of outputs to the trainer."""
    return (outputs - targets.values).square().mean()


register_loss("test_states", StatesLoss(states_loss))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make("smoke", "train", tmp_path_factory.mktemp("smoke") / "train", workers=1)


def run(root, out, **choices):
    dataset = open_dataset("synthtrack-smoke", "train", root=root)
    recipe = replace(QUICK, **choices)
    return train(CARD, None, dataset, out=out, steps=4, recipe=recipe, log_every=1, evaluations=1, resume=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_in_two(root, out, loss):
    """The same training in two processes as torchrun starts them; what they said."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(root), str(out), loss]
    started = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in "01"
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()  # one that still waits for the other, which is no more
    assert [process.returncode for process in started] == [0, 0], said


@pytest.mark.parametrize("loss", ["spatial_cross_entropy", pytest.param("test_states", marks=pytest.mark.long)])
def test_two_processes_take_the_steps_of_one(root, tmp_path, loss):
    alone = run(root, tmp_path / "one", loss=loss)
    run_in_two(root, tmp_path / "two", loss)
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    assert record["processes"] == 2 and record["clips"] == alone.record["clips"] == 24
    losses = [[row["loss"] for row in each["curve"]] for each in (alone.record, record)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-5)
    one, two = load_file(alone.weights), load_file(tmp_path / "two" / "last.safetensors")
    for key in one.keys() - {"head.bias"}:  # whose gradient is nothing but rounding: a softmax over the map follows
        torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=1e-4)
    assert one["spare"].tolist() == two["spare"].tolist() == [[1.0] * 3], "what no loss reaches is not decayed"
    # the statistics are of whole batches, not of one process's half
    torch.testing.assert_close(two["norm.running_var"], one["norm.running_var"], rtol=1e-5, atol=1e-7)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    from harness.inference.ranks import Ranks
    from harness.training import team

    monkeypatch.setattr(team, "join_ranks", lambda: Ranks(0, 4, 4, torch.distributed.HashStore()))
    with pytest.raises(UsageError, match="a batch of 6 cannot be cut evenly for 4 processes"):
        team.join_team(torch.device("cpu"), 6)


def test_bf16_stays_near_and_fp16_needs_a_gpu(root, tmp_path):
    exact, near = (run(root, tmp_path / name, precision=name) for name in ("fp32", "bf16"))
    losses = [[row["loss"] for row in each.record["curve"]] for each in (exact, near)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.03)
    assert all(value.dtype in (torch.float32, torch.int64) for value in load_file(near.weights).values())
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        run(root, tmp_path / "fp16", precision="fp16")


def test_fp16_scales_its_loss_and_the_scale_is_kept(root, monkeypatch):
    monkeypatch.setattr("harness.training.trainer.check_precision", lambda *_: None)
    dataset = open_dataset("synthtrack-smoke", "train", root=root)
    recipe = replace(QUICK, precision="fp16", clip_norm=1.0, augmentation=Augmentation(half_body=0.5))
    trainer = Trainer.make(CARD, None, dataset, recipe, 0, torch.device("cpu"))
    trainer.ready()
    trainer.progress.steps = 3
    before = trainer.method.module.head.weight.clone()
    said = [float(trainer.step(number, batch)) for number, batch in trainer.batches(0, 3)]
    assert all(torch.isfinite(torch.tensor(said))) and not torch.equal(before, trainer.method.module.head.weight)
    assert trainer.parts["scaler"].state_dict()["scale"] > 1


def test_record_says_where_it_was_made_and_how_good_it_is(root, tmp_path):
    record = run(root, tmp_path, average=0.5).record
    assert record["environment"]["packages"]["torch"] == torch.__version__.split("+")[0] or record["environment"]
    assert set(record["environment"]) >= {"commit", "packages", "python"} and record["threads"] >= 1
    assert 0 <= record["held_out_ap"] <= 1 and record["curve"][-1]["held_out_ap"] == record["held_out_ap"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), Path(sys.argv[2]), loss=sys.argv[3])
