"""torch.compile: batches of one shape, the same poses, and a clear word where it cannot be done."""

import numpy as np
import pytest
import torch
from test_engine import boxes, bright, data  # noqa: F401

from harness.errors import HarnessError, UsageError
from harness.inference import Settings, load_method, predict
from harness.inference.compiling import check_compiler, compiled


def test_every_batch_has_the_shape_that_was_compiled(data, boxes, monkeypatch) -> None:  # noqa: F811
    method, shapes = bright((0, 1)), set()
    monkeypatch.setattr("torch.compile", lambda module, **_: module)
    method.module.register_forward_hook(lambda _, given, __: shapes.add(len(given[0])))
    found, timings = predict(method, data, boxes, settings=Settings(batch_size=4, compiler="default"))
    assert shapes == {4} and timings.compile > 0 and timings.clips == 9
    usual, _ = predict(bright((0, 1)), data, boxes, settings=Settings(batch_size=4))
    np.testing.assert_allclose(found.joints, usual.joints, atol=1e-4)


def test_what_lacks_is_named(data, boxes, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match=r"needs a C.. compiler, and there is no 'no-such-compiler'"):
        predict(bright(), data, boxes, settings=Settings(compiler="default"))
    with pytest.raises(UsageError, match="--compile graphs needs a GPU"):
        check_compiler("graphs", torch.device("cpu"))
    with pytest.raises(UsageError, match="unknown compiler 'best'"):
        check_compiler("best", torch.device("cpu"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs triton"):
        check_compiler("default", torch.device("cuda"))


def test_a_recurrent_preset_is_not_compiled() -> None:
    method = load_method("dcpose_adaptive", preset="tiny-recurrent", weights="random").method
    with pytest.raises(UsageError, match="is run step by step and is not compiled"):
        compiled(method, "default")


def test_what_cannot_be_compiled_is_told_in_a_line(data, boxes, monkeypatch) -> None:  # noqa: F811
    def fails(_module, **_options):
        def run(_clips):
            raise torch._dynamo.exc.Unsupported("no such thing\nand a long story")

        return run

    monkeypatch.setattr("torch.compile", fails)
    method = bright()
    with pytest.raises(HarnessError, match=r"method 'bright' \(test\) cannot be compiled here \(no such thing\)"):
        predict(method, data, boxes, settings=Settings(compiler="default"))


@pytest.mark.long
def test_a_compiled_network_gives_the_same_poses(data, boxes) -> None:  # noqa: F811
    found, timings = predict(bright((0, 1)), data, boxes, settings=Settings(batch_size=4, compiler="default"))
    usual, _ = predict(bright((0, 1)), data, boxes, settings=Settings(batch_size=4))
    np.testing.assert_allclose(found.joints, usual.joints, atol=1e-3)
    assert timings.compile > timings.forward
