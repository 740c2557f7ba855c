"""Loading is strict: hash, content, source, keys and shapes; what does not fit is named."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import fill
from safetensors.torch import load_file
from torch import nn

import harness.weights.manifest as manifest_module
from baselines.layers.hrnet import TINY, HRNetPose
from harness.errors import UsageError, WeightsError
from harness.files import sha256_of
from harness.registry import Registry
from harness.weights import (
    MMPOSE,
    WeightsEntry,
    load,
    parameter_count,
    publish,
    publish_entry,
    register_manifest,
    save,
    weights,
)


@pytest.fixture(scope="module")
def filled() -> nn.Module:
    return fill(HRNetPose(**TINY))


def fresh() -> nn.Module:
    return HRNetPose(**TINY)


def same(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


def refusal(module: nn.Module, path: Path | str, **options) -> str:
    with pytest.raises(WeightsError) as caught:
        load(module, path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    assert str(path) in message
    return message


def mmpose(state, head: str = "head"):
    return {
        (f"{head}." if key.startswith("final_layer.") else "backbone.") + key: value for key, value in state.items()
    }


WRAPPINGS = {
    "bare": (lambda state: state, "official names"),
    "data parallel": (lambda state: {f"module.{key}": value for key, value in state.items()}, "official names"),
    "twice parallel": (lambda state: {f"module.module.{key}": value for key, value in state.items()}, "official names"),
    "training": (
        lambda state: {
            "epoch": 3, "model": "pose_hrnet", "perf": np.float64(0.7), "best_state_dict": state,
            "state_dict": {f"module.{key}": value for key, value in state.items()},
            "optimizer": {"state": {}, "param_groups": []},
        },
        "official names",
    ),
    "best only": (lambda state: {"model": "pose_hrnet", "best_state_dict": state}, "official names"),
    "model": (lambda state: {"model": state, "epoch": 1}, "official names"),
    "mmpose 1": (lambda state: {"meta": {"epoch": 9}, "state_dict": mmpose(state)}, "mmpose 1.x"),
    "mmpose 0": (lambda state: {"meta": {}, "state_dict": mmpose(state, "keypoint_head")}, "mmpose 0.x"),
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_known_wrapping_loads(filled: nn.Module, tmp_path: Path, wrapping: str) -> None:
    wrap, source = WRAPPINGS[wrapping]
    path = tmp_path / "checkpoint.pth"
    torch.save(wrap(filled.state_dict()), path)
    module = fresh()
    loaded = load(module, path)
    assert same(module, filled)
    assert (loaded.source, loaded.name, loaded.path, loaded.note) == (source, "", path, "")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_old_checkpoints_without_batch_counts_load(filled: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    state = {key: value for key, value in filled.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    module = fresh()
    load(module, path)
    assert same(module, filled)


def test_safetensors_round_trip_and_equal_bytes(filled: nn.Module, tmp_path: Path) -> None:
    first, second = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    about = {"seed": 1, "a": "b", "steps": 2}
    digest = save(filled, first, about=about)
    assert digest == save(filled.state_dict(), second, about=about) == sha256_of(first)
    assert not list(tmp_path.glob(".*")), "no temporary file is left"
    module = fresh()
    loaded = load(module, first, sha256=digest.upper())
    assert same(module, filled)
    assert loaded.source == "vidpose-harness"


def test_half_precision_file_is_half_the_size_and_loads_as_float32(filled: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save(filled, path, half=True)
    assert path.stat().st_size < 2 * parameter_count(filled) * 1.1
    assert load_file(path)["conv1.weight"].dtype == torch.float16
    module = fresh()
    load(module, path)
    assert module.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(module.conv1.weight, filled.conv1.weight, rtol=1e-3, atol=1e-4)


def altered(state, **changes):
    return {**{key: value for key, value in state.items() if key not in changes or changes[key] is not None},
            **{key: value for key, value in changes.items() if value is not None}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"conv1.weight": None}, "1 missing: conv1.weight"),
        ({"conv1.weight": None, "bn1.bias": None, "bn1.weight": None, "bn2.bias": None}, "and 1 more"),
        ({"classifier.weight": torch.zeros(3)}, "1 not known to the network: classifier.weight"),
        ({"final_layer.bias": torch.zeros(15)}, "final_layer.bias (15,), expected (17,)"),
        ({"bn1.num_batches_tracked": torch.zeros(2, dtype=torch.int64)}, "bn1.num_batches_tracked (2,), expected ()"),
    ],
)
def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded(
    filled: nn.Module, tmp_path: Path, change, expected: str
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(altered(filled.state_dict(), **change), path)
    module = fresh()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    assert expected in refusal(module, path)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_keys_that_mean_the_same_tensor_are_refused(filled: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    state = mmpose(filled.state_dict())
    torch.save({**state, "conv1.weight": state["backbone.conv1.weight"]}, path)
    assert "mean the same tensor" in refusal(fresh(), path)


class Code:
    """Unpickles into a call."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.makedirs, (str(self.marker),)


@pytest.mark.parametrize("kind", ["torch", "legacy torch", "old pickle", "pickle"])
def test_pickled_code_is_refused_and_does_not_run(filled: nn.Module, tmp_path: Path, kind: str) -> None:
    path, marker = tmp_path / "checkpoint.pth", tmp_path / "ran"
    content = {**filled.state_dict(), "extra": Code(marker)}
    if "pickle" in kind:
        path.write_bytes(pickle.dumps({"extra": Code(marker)}, protocol=2 if kind == "old pickle" else 4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    message = refusal(fresh(), path)
    assert "refused" in message
    assert "(os.makedirs)" in message
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a readable checkpoint"),
        (b"PK\x03\x04 broken", "not a readable checkpoint"),
        (b"no checkpoint at all, a text", "not a readable checkpoint"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{broken header}", "not a readable safetensors file"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x80{}", "not a readable safetensors file"),  # a header of 2^63 bytes
        (b"\xff" * 8 + b"{" + b" " * 99, "not a readable safetensors file"),
        (b"\x80\x02", "not a readable checkpoint"),
        (b"\x80\x05\x95\x00\x00\x00\x00\x00\x00\x00\x7f.", "not a readable checkpoint"),
        (b"PK\x05\x06" + b"\x00" * 18, "not a readable checkpoint"),  # a zip archive of nothing
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    assert expected in refusal(fresh(), path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_named(filled: nn.Module, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    if suffix == ".pth":
        torch.save(filled.state_dict(), path)
    else:
        save(filled, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "not a readable" in refusal(fresh(), path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, {"state_dict": {"conv1.weight": "text"}}])
def test_files_without_a_state_dict_are_named(tmp_path: Path, content) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    assert "no state dict found" in refusal(fresh(), path)


def test_another_hash_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(b"anything")
    message = refusal(fresh(), path, sha256="0" * 64)
    assert "000000000000" in message
    assert hashlib.sha256(b"anything").hexdigest()[:12] in message


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    assert "no such file" in refusal(fresh(), tmp_path / "absent.pth")
    assert "no such file" in refusal(fresh(), "absent.pth")
    assert "is a folder, not a checkpoint" in refusal(fresh(), tmp_path)
    with pytest.raises(UsageError, match="unknown weights 'absent'"):
        load(fresh(), "absent")


def test_coco_checkpoints_carry_a_note(filled: nn.Module, tmp_path: Path) -> None:
    for name, noted in (("hrnet_w32_coco_256x192.pth", True), ("hrnet_coco_posetrack18.pth", False)):
        torch.save(filled.state_dict(), tmp_path / name)
        assert ("eyes" in load(fresh(), tmp_path / name).note) == noted


@pytest.fixture
def own_registry(monkeypatch) -> Registry[WeightsEntry]:
    registry: Registry[WeightsEntry] = Registry("weights")
    monkeypatch.setattr(manifest_module, "weights", registry)
    return registry


def test_manifest_round_trip(filled: nn.Module, tmp_path: Path, own_registry) -> None:
    digest = save(filled, tmp_path / "net.safetensors")
    manifest = tmp_path / "manifest.toml"
    publish_entry(manifest, WeightsEntry("zeta", "zeta.pth", "1" * 64, url="https://example.org/zeta.pth"))
    entry = WeightsEntry("net", "net.safetensors", digest, licence="Apache-2.0", trained_on='a "train" split, COCO')
    publish_entry(manifest, WeightsEntry("net", "old", "0"))
    publish_entry(manifest, entry)
    assert manifest.read_text().index("[net]") < manifest.read_text().index("[zeta]")
    register_manifest(manifest)
    assert own_registry["net"].trained_on == entry.trained_on
    module = fresh()
    loaded = load(module, "net")
    assert same(module, filled)
    assert (loaded.name, loaded.sha256, loaded.path) == ("net", digest, tmp_path / "net.safetensors")
    assert "eyes" in loaded.note
    (tmp_path / "net.safetensors").write_bytes(b"altered")
    with pytest.raises(WeightsError, match="its sha256 is"):
        load(module, "net")


def test_publishing_makes_weights_loadable_by_name(filled: nn.Module, tmp_path: Path, own_registry) -> None:
    manifest = tmp_path / "manifest.toml"
    for steps in (1, 2):  # publishing again replaces
        publish(
            filled,
            "net",
            manifest=manifest,
            licence="Apache-2.0",
            trained_on="rows",
            record={"steps": steps},
            half=True,
        )
    register_manifest(manifest)
    entry = own_registry["net"]
    assert json.loads((tmp_path / entry.record).read_text()) == {"steps": 2}
    module = fresh()
    assert load(module, "net").source == "vidpose-harness"
    torch.testing.assert_close(module.conv1.weight, filled.conv1.weight, rtol=1e-3, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.toml", "net.json", "net.safetensors"]


def test_absent_files_of_a_manifest_say_where_they_belong(tmp_path: Path, own_registry, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    manifest = tmp_path / "manifest.toml"
    publish_entry(manifest, WeightsEntry("far", "far.pth", "1" * 64, url="https://example.org/far.pth"))
    publish_entry(manifest, WeightsEntry("near", "near.pth", "1" * 64))
    register_manifest(manifest)
    with pytest.raises(WeightsError, match=r"https://example\.org/far\.pth") as caught:
        load(fresh(), "far")
    assert str(tmp_path / "cache" / "vidpose-harness" / "weights" / "far.pth") in str(caught.value)
    with pytest.raises(WeightsError, match="reinstall"):
        load(fresh(), "near")


def test_manifest_entries_that_say_too_little_are_named(tmp_path: Path, own_registry) -> None:
    manifest = tmp_path / "manifest.toml"
    manifest.write_text('[net]\nfile = "net.pth"\n')
    with pytest.raises(WeightsError, match=r"entry 'net'.*sha256"):
        register_manifest(manifest)


def test_key_maps_translate_both_ways(filled: nn.Module) -> None:
    for key in filled.state_dict():
        assert MMPOSE.ours(MMPOSE.theirs(key)) == key


def test_shipped_files_have_the_hash_of_their_entry_and_stay_small() -> None:
    sizes = {}
    for name in weights:
        entry = weights[name]
        if not entry.url:
            assert sha256_of(entry.path) == entry.sha256
            assert entry.licence
            assert entry.trained_on
            sizes[name] = entry.path.stat().st_size / 2**20
    assert sizes["hrnet-tiny"] <= 4
    assert max(sizes.values()) <= 8 and sum(sizes.values()) <= 60, sizes
