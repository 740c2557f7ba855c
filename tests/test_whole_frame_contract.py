"""What every method promises that takes whole frames: the contract of test_methods_contract.py, as far as it has sense.

Such a method sees one frame, so that there is no order of frames and no end of a video to it; and how many persons it
gives depends on the frame, so that its maps are compared, not its persons.
"""

import numpy as np
import pytest
import torch
from surroundings import surroundings

from harness.methods import MethodCard, WholeFramePreset, methods
from harness.weights import parameter_count

CASES = [
    (name, preset)
    for name in methods
    for preset, content in methods[name].presets.items()
    if isinstance(content, WholeFramePreset)
]
SMALL = 4_000_000


def open_case(case: tuple[str, str]) -> tuple[MethodCard, WholeFramePreset]:
    card = methods[case[0]]
    return card, card.presets[case[1]]


def small(case: tuple[str, str]) -> bool:
    card, preset = open_case(case)
    with torch.device("meta"):
        return parameter_count(card.build(preset.options)) <= SMALL


RUN = [case for case in CASES if small(case)]


@pytest.fixture(params=RUN, ids="-".join, scope="module")
def running(request):
    """The preset and its network in eval mode, with seeded weights of which none is 0."""
    card, preset = open_case(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = card.build(preset.options).eval()
        for parameter in module.parameters():
            if not parameter.any():
                parameter.detach().normal_(0, 0.05)
    return preset, module


def frames_of(preset: WholeFramePreset, count: int, seed: int = 11) -> torch.Tensor:
    """Frames (B,1,3,H,W) of noise, a multiple of 64 px wide."""
    height = preset.frame.short_side
    return torch.randn((count, 1, 3, height, 2 * height), generator=torch.Generator().manual_seed(seed))


def parts(outputs) -> list[torch.Tensor]:
    """The tensors of outputs of any form, a batch first but where layers come before it."""
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def batch_axis(part: torch.Tensor, count: int) -> int:
    """Tensors of every layer (L,B,...) have their batch second, all others first."""
    return next(axis for axis in (0, 1) if part.shape[axis] == count)


def test_every_method_that_takes_whole_frames_has_a_preset_that_is_run() -> None:
    assert {name for name, _ in RUN} == {name for name, _ in CASES} >= {"dekr", "higher_hrnet", "prtr_end_to_end"}


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_build_leaves_no_trace_outside(case: tuple[str, str]) -> None:
    card, preset = open_case(case)
    around = surroundings()[:9]
    numbers = np.random.get_state()[1].copy()
    with torch.device("meta"):
        module = card.build(preset.options)
    assert {value.device.type for value in module.state_dict().values()} == {"meta"}
    assert surroundings()[:9] == around
    assert (np.random.get_state()[1] == numbers).all()


def test_an_output_depends_on_its_own_frame_only(running) -> None:
    preset, module = running
    frames = frames_of(preset, 3)
    with torch.inference_mode():
        together = parts(module(frames))
        alone = [parts(module(frames[place : place + 1])) for place in range(3)]
    for number, part in enumerate(together):
        axis = batch_axis(part, 3)
        single = torch.cat([each[number] for each in alone], dim=axis)
        torch.testing.assert_close(part, single, rtol=0, atol=1e-4 * (float(part.std()) or 1.0))


def test_the_same_frame_gives_the_same_output_and_nothing_else_changes(running) -> None:
    preset, module = running
    frames = frames_of(preset, 1)
    before, around = frames.clone(), surroundings()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.inference_mode():
        first, second = parts(module(frames)), parts(module(frames))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert surroundings() == around
    assert torch.equal(frames, before)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_outputs_are_finite_and_change_with_the_frame(running) -> None:
    preset, module = running
    frames = frames_of(preset, 1)
    with torch.inference_mode():
        shown, other, black = (parts(module(value)) for value in (frames, -frames, torch.zeros_like(frames)))
    assert all(part.isfinite().all() for part in (*shown, *other, *black))
    assert not all(torch.equal(one, two) for one, two in zip(shown, other, strict=True))
