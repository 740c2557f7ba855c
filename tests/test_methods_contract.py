"""What every registered method and preset promises, whatever it is: the tests a new method gets for free."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from golden_fill import fill
from surroundings import surroundings

from baselines.mean_pose import fit
from harness.clips import END_RULES, support_indices
from harness.codecs import build_codec, codecs
from harness.datasets.sequences import NO_TRACK, DataSet, Frame, Sequence, Truth
from harness.errors import DataError, UsageError
from harness.methods import MethodCard, Preset, WholeFramePreset, methods
from harness.skeletons import GROUPS, POSETRACK15, POSETRACK17
from harness.weights import fit_weights, load, parameter_count

#: Presets that look at crops; those that take whole frames have a contract of their own (test_whole_frame_contract.py).
CASES = [
    (name, preset)
    for name in methods
    for preset, content in methods[name].presets.items()
    if not isinstance(content, WholeFramePreset)
]
SMALL = 4_000_000
#: One paper-sized preset is run with the small ones; the others are built, and run by `-m long`.
RUN_ANYWAY = {("hrnet", "w32-256x192")}


def open_case(case: tuple[str, str]) -> tuple[MethodCard, Preset]:
    card = methods[case[0]]
    return card, card.preset(case[1])[1]


_sizes: dict[str, int] = {}


def size_of(card: MethodCard, preset: Preset) -> int:
    """Parameters; presets that only read the same network in another way are built once."""
    same = f"{card.name} {preset.options!r}"
    if same not in _sizes:
        with torch.device("meta"):
            _sizes[same] = parameter_count(card.build(preset.options))
    return _sizes[same]


RUN = [case for case in CASES if size_of(*open_case(case)) <= SMALL or case in RUN_ANYWAY]


def built(case: tuple[str, str]):
    """The card, preset, and network in eval mode with seeded weights and batch statistics that are not the defaults."""
    card, preset = open_case(case)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = card.build(preset.options).eval()
        for key, value in module.state_dict().items():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        # what starts at 0 so that a network starts as its backbone is not 0 for long
        for parameter in module.parameters():
            if not parameter.any():
                parameter.detach().normal_(0, 0.05)
    return card, preset, module


def clips_of(preset: Preset, count: int) -> torch.Tensor:
    width, height = preset.crop.size
    generator = torch.Generator().manual_seed(11)
    return torch.randn((count, len(preset.support), 3, height, width), generator=generator)


LARGE = [pytest.param(case, marks=pytest.mark.long) for case in CASES if case not in RUN]


@pytest.fixture(params=[*RUN, *LARGE], ids="-".join, scope="module")
def running(request):
    return built(request.param)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_card_is_complete(case: tuple[str, str]) -> None:
    card, preset = open_case(case)
    assert card.name == case[0]
    assert card.title
    assert card.summary.endswith(".")
    assert card.licence
    assert card.default_preset in card.presets
    assert preset.codec in codecs
    assert preset.crop.colour in ("rgb", "bgr")
    assert preset.crop.aspect in ("keep", "stretch")
    assert preset.ends in END_RULES
    assert len(set(preset.support)) == len(preset.support)
    assert build_codec(preset).geometry in ("plain", "dark", "udp")
    for row in card.published:
        assert list(row.values) == [*GROUPS, "Mean"]
        assert all(0 < value < 100 for value in row.values.values())
        assert row.source[:2] in ("A:", "B:"), "only rows read at the source or quoted in a paper"


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_build_leaves_no_trace_outside(case: tuple[str, str]) -> None:
    card, preset = open_case(case)
    threads, dtype, generator = torch.get_num_threads(), torch.get_default_dtype(), np.random.get_state()[1].copy()
    with torch.device("meta"):
        module = card.build(preset.options)
    assert {value.device.type for value in module.state_dict().values()} == {"meta"}, (
        "places nothing on a device itself"
    )
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert (np.random.get_state()[1] == generator).all()


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_shipped_weights_load(case: tuple[str, str]) -> None:
    card, preset = open_case(case)
    if preset.weights is None:
        pytest.skip("no weights are shipped for it")
    module = card.build(preset.options)
    loaded = load(module, preset.weights)
    assert loaded.source == "vidpose-harness"
    assert all(value.isfinite().all() for value in module.state_dict().values())


def within(decoded, preset) -> bool:
    """Joints lie in the grid, but where a step from the best cell has no bound: on maps of an untrained network."""
    inside = (decoded.joints >= 0) & (decoded.joints <= torch.tensor(decoded.grid))
    return preset.codec in ("udp", "udp_offset") or bool(inside.all())


def test_outputs_decode_to_one_joint_per_name(running) -> None:
    card, preset, module = running
    with torch.inference_mode():
        decoded = build_codec(preset).decode(module(clips_of(preset, 2)))
    joints = len(card.skeleton)
    assert decoded.joints.shape == (2, joints, 2)
    assert decoded.scores.shape == (2, joints)
    assert decoded.joints.isfinite().all()
    assert decoded.scores.isfinite().all()
    assert within(decoded, preset)
    if preset.codec_options.get("activation") == "softmax" or preset.codec == "simcc":
        assert ((decoded.scores > 0) & (decoded.scores <= 1)).all(), "shares of a softmax"


def test_an_output_depends_on_its_own_clip_only(running) -> None:
    _, preset, module = running
    clips = clips_of(preset, 3)
    with torch.inference_mode():
        together = torch.as_tensor(module(clips))
        alone = torch.cat([module(clips[place : place + 1]) for place in (2, 0, 1)])[[1, 2, 0]]
    scale = float(together.std()) or 1.0
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4 * scale)


def test_the_same_clip_gives_the_same_output_and_nothing_else_changes(running) -> None:
    _, preset, module = running
    clips = clips_of(preset, 2)
    before, around = clips.clone(), surroundings()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.inference_mode():
        assert torch.equal(module(clips), module(clips))
    assert surroundings() == around
    assert torch.equal(clips, before)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_the_order_of_support_frames_matters_exactly_where_the_preset_says_so(running) -> None:
    card, preset, _ = running
    places = [place for place, offset in enumerate(preset.support) if offset]
    if len(places) < 2:
        assert preset.ordered, "nothing to exchange"
        return
    module = fill(card.build(preset.options))  # fresh weights let little of the supports through
    clips = clips_of(preset, 1)
    exchanged = clips.clone()
    exchanged[:, places] = clips[:, places[::-1]]
    with torch.inference_mode():
        output, other = module(clips), module(exchanged)
    apart = float((output - other).abs().max() / output.std())
    assert (apart > 1e-4) == preset.ordered, f"outputs differ by {apart:.1e} of their spread"


@pytest.mark.parametrize("frames", [1, 2])
def test_short_videos_give_finite_joints_inside_the_crop(running, frames: int) -> None:
    """Of one frame and of two: what stands in at the ends makes supports equal to the key frame or to each other."""
    _, preset, module = running
    if not preset.support:
        return
    codec, shown = build_codec(preset), clips_of(preset, frames)[:, 0]
    for key in range(frames):
        seen = support_indices(key, preset.support, first=0, last=frames - 1, ends=preset.ends)
        assert all(index == key for index, offset in zip(seen, preset.support, strict=True) if offset == 0)
        with torch.inference_mode():
            for clip in (shown[seen][None], torch.zeros_like(shown[seen][None])):
                decoded = codec.decode(module(clip))
                assert decoded.joints.isfinite().all()
                assert decoded.scores.isfinite().all()
                assert within(decoded, preset)


def test_pixels_matter_exactly_where_the_card_says_so(running) -> None:
    _, preset, module = running
    clips = clips_of(preset, 1)
    with torch.inference_mode():
        output = module(clips)
        for place in range(len(preset.support)):
            changed = clips.clone()
            changed[:, place] = -changed[:, place]
            assert not torch.equal(module(changed), output), f"frame {preset.support[place]} is read for nothing"
    assert output.shape[0] == 1


def test_targets_have_the_form_of_the_outputs(running) -> None:
    card, preset, module = running
    width, height = preset.crop.size
    joints = torch.full((1, len(card.skeleton), 2), float(min(width, height)) / 2)
    codec = build_codec(preset)
    if codec.form == "queries":
        pytest.skip("a set is matched with its targets, which have another form (test_prtr.py)")
    targets = codec.encode(joints, torch.ones(1, len(card.skeleton)))
    with torch.inference_mode():
        outputs = module(clips_of(preset, 1))
    assert targets.values.shape == outputs.shape
    assert targets.weights.tolist() == [[1.0] * len(card.skeleton)]
    order = torch.from_numpy(card.skeleton.flip_order)
    assert codec.merge(outputs, outputs, order).shape == outputs.shape


def test_copy_previous_is_tiny_hrnet_on_another_frame() -> None:
    copy, single = methods["copy_previous"].presets["tiny"], methods["hrnet"].presets["tiny"]
    assert (copy.support, copy.box_offset) == ((-1,), -1)
    assert (copy.crop, copy.codec, copy.codec_options, copy.options, copy.weights) == (
        single.crop, single.codec, single.codec_options, {"network": "hrnet", **single.options}, single.weights,
    )  # fmt: skip
    networks = [methods[name].build(preset.options) for name, preset in (("copy_previous", copy), ("hrnet", single))]
    networks[0].load_state_dict(networks[1].state_dict())
    clips = clips_of(single, 2)
    with torch.inference_mode():
        assert torch.equal(networks[0].eval()(clips), networks[1].eval()(clips))


def two_people(joints: np.ndarray, annotated: np.ndarray) -> DataSet:
    """A data set of one frame with two people in boxes 100 x 200 px at the origin and at (50, 10)."""
    boxes = np.array([[0.0, 0, 100, 200], [50, 10, 150, 210]])
    ids = np.full(2, NO_TRACK)
    truth = Truth(
        frame=np.zeros(2, dtype=np.int64), joints=joints, annotated=annotated, boxes=boxes,
        head_boxes=np.full((2, 4), np.nan), track_ids=ids, person_ids=ids, has_points=np.ones(2, dtype=bool),
    )  # fmt: skip
    return DataSet("by_hand", "train", ".", (Sequence("one", (Frame("1.jpg", 0, 0),), truth),), "sha256:0")


def test_mean_pose_is_the_mean_in_the_unit_box() -> None:
    joints = np.full((2, 17, 2), [20.0, 40.0])
    joints[1] = [50 + 60.0, 10 + 80.0]  # 0.6, 0.4 in its own box; the first is at 0.2, 0.2
    annotated = np.ones((2, 17), dtype=bool)
    ears = [POSETRACK17.index(f"{side}_ear") for side in ("left", "right")]
    annotated[:, ears] = False
    joints[:, ears] = np.nan
    wrist = POSETRACK17.index("left_wrist")
    annotated[1, wrist] = False
    pose = fit(two_people(joints, annotated))["pose"].numpy()
    np.testing.assert_allclose(pose[POSETRACK17.index("nose")], [0.4, 0.3, 0.0], atol=1e-6)
    np.testing.assert_allclose(pose[wrist], [0.2, 0.2, 1.0], atol=1e-6)
    np.testing.assert_allclose(pose[ears], [[0.4, 0.3, 0.0]] * 2, atol=1e-6)


def test_mean_pose_needs_every_evaluated_joint() -> None:
    annotated = np.ones((2, 17), dtype=bool)
    annotated[:, POSETRACK17.index(POSETRACK15.names[0])] = False
    with pytest.raises(DataError, match="right_ankle"):
        fit(two_people(np.zeros((2, 17, 2)), annotated))


def test_fitting_writes_weights_that_load(tmp_path) -> None:
    card, out = methods["mean_pose"], tmp_path / "mean.safetensors"
    joints = np.arange(2 * 17 * 2, dtype=float).reshape(2, 17, 2)
    record = fit_weights(card, two_people(joints, np.ones((2, 17), dtype=bool)), out=out)
    module = card.build({})
    loaded = load(module, out)
    assert (record["people"], record["fingerprint"], record["sha256"]) == (2, "sha256:0", loaded.sha256)
    assert json.loads(out.with_suffix(".json").read_text()) == record
    # joint 0: (0, 1) in the first box, (34 - 50, 35 - 10) in the second
    np.testing.assert_allclose(module.pose[0, :2], [(0 - 0.16) / 2, (0.005 + 0.125) / 2], atol=1e-6)
    with pytest.raises(UsageError, match="trained, not fitted"):
        fit_weights(methods["hrnet"], two_people(joints, np.ones((2, 17), dtype=bool)), out=out)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'hrnet'"):
        methods["hrnt"]
    with pytest.raises(UsageError, match="w32-256x192"):
        methods["hrnet"].preset("w18")


@pytest.mark.parametrize("module", ["harness", "harness.cli", "harness.weights", "harness.methods"])
def test_no_torch_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_looking_up_a_built_in_data_set_loads_no_method() -> None:
    lookup = "from harness.datasets.registry import datasets; datasets['posetrack18']"
    code = f"import sys; {lookup}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
