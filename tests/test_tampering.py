"""Whatever is changed after a run, `harness verify` names it and exits with 5: each file, each field of the record."""

import json
import random
import shutil

import pytest
from fuzzing import VALUES

from harness.datasets import open_dataset
from harness.errors import DataError
from harness.reopen import rescorer
from harness.results import Results, read_run
from harness.verify import verify
from harness.weights import find_weights

WHOLE = ("eval", "--method", "hrnet", "--dataset", "synthtrack-smoke", "--limit", "1", "--no-plots", "--no-floor")


@pytest.fixture(scope="module")
def made(smoke_val, tmp_path_factory):
    """A results folder with one run of weights of one's own."""
    from harness.cli import run

    place = tmp_path_factory.mktemp("tampering")
    shutil.copy(find_weights("hrnet-tiny")[0], place / "mine.safetensors")
    assert run([*WHOLE, "--weights", str(place / "mine.safetensors"), "--results", str(place / "results")]) == 0
    return place


@pytest.fixture
def place(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def checked(harness, place):
    return harness("verify", "--results", place / "results", "--weights", place / "mine.safetensors")


def test_an_untouched_run_is_sound_in_every_respect(harness, place):
    answer = checked(harness, place)
    assert answer.code == 0 and "not checked" not in answer.out
    assert answer.out.split("checked ")[1].strip() == "record, predictions, weights, data, images, scores"


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "flipped": flipped,
    "halved": halved,
    "emptied": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "removed": lambda path: path.unlink(),
    "another": lambda path: path.write_bytes(b'{"annolist": []}'),
}


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "removed"])
@pytest.mark.parametrize("file", ["predictions", "weights", "record"])
def test_every_change_of_a_file_is_named(harness, place, file, damage):
    (folder,) = place.glob("results/*/*/*")
    path = {"weights": place / "mine.safetensors", "record": folder / "record.json",
            "predictions": next(folder.glob("predictions-*"))}[file]  # fmt: skip
    DAMAGES[damage](path)
    answer = checked(harness, place)
    assert answer.code == 5 and f"CHANGED  {folder.name}" in answer.out
    assert f"         {file}: " in answer.out and str(path) in answer.out, answer.out


def test_what_is_missing_is_named_too(harness, place):
    (folder,) = place.glob("results/*/*/*")
    next(folder.glob("predictions-*")).unlink()
    (place / "mine.safetensors").unlink()
    answer = checked(harness, place)
    assert answer.code == 5 and answer.out.count("is missing") == 2


def test_every_value_of_a_record_is_covered(place):
    """Each leaf of the JSON changed alone: the record is refused, or its digest is not that of its content."""
    (folder,) = place.glob("results/*/*/*")
    document = json.loads((folder / "record.json").read_text())
    chance, tried = random.Random(4), 0
    for holder, key, name in leaves(document, ""):
        value = holder[key]
        holder[key] = chance.choice([other for other in VALUES if other != value])
        (folder / "record.json").write_text(json.dumps(document))
        holder[key] = value
        tried += 1
        try:
            findings = verify(read_run(folder)).findings
        except DataError as error:
            assert "record.json" in str(error)
        else:
            assert bool(findings) != (name == ".label"), name
    assert tried > 300


def leaves(value, name):
    """Holder, key and dotted name of every value; of the scores the first only, since they are many and alike."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value[:20])):
            yield value, key, f"{name}.{key}"
            yield from leaves(inner, f"{name}.{key}")


@pytest.mark.parametrize("facts", [{"slices": 7}, {"slices": [["speed"]]}, {"slices": ["x"]}, {"compat": {}},
                                   {"compat": "kind"}])  # fmt: skip
def test_strange_rules_of_scoring_are_a_finding(place, facts):
    (folder,) = place.glob("results/*/*/*")
    document = json.loads((folder / "record.json").read_text())
    document["scoring"] |= facts
    (folder / "record.json").write_text(json.dumps(document))
    found = verify(read_run(folder), rescore=rescorer(open_dataset("synthtrack-smoke", "val"))).findings
    assert [finding.check for finding in found if "cannot be recomputed" in str(finding)] == ["scores"]


def test_a_changed_label_file_is_named(harness, place, smoke_val, tmp_path):
    """A data set of one's own: its labels, and the size of any image."""
    data = tmp_path / "data"
    shutil.copytree(smoke_val, data)
    words = ("--dataset", "posetrack21", "--data-root", data, "--results", tmp_path / "own")
    weights = ("--weights", place / "mine.safetensors")
    assert harness(*WHOLE, *weights, *words).code == 0
    name = open_dataset("posetrack21", "val", root=data).sequences[0].name
    (label,) = data.glob(f"posetrack_data/val/{name}.json")
    image = sorted(data.glob(f"images/val/{name}/*"))[3]
    verified = ("verify", "--results", tmp_path / "own", "--data-root", data, *weights)
    assert harness(*verified).code == 0
    whole = image.read_bytes()
    image.write_bytes(whole + b"\0")
    answer = harness(*verified)
    image.write_bytes(whole)
    assert answer.code == 5 and "images: of posetrack21 val changed" in answer.out and "data: " not in answer.out
    label.write_text(label.read_text().replace('"track_id"', ' "track_id"', 1))
    answer = harness(*verified)
    assert answer.code == 5 and "data: labels of posetrack21 val changed" in answer.out
    assert Results(tmp_path / "own").scan()[1] == []


def test_of_weights_of_one_name_those_of_the_record_are_checked(harness, place):
    own, other = place / "mine.safetensors", place / "other" / "mine.safetensors"
    other.parent.mkdir()
    other.write_bytes(b"of another training")
    words = ("verify", "--results", place / "results")
    for order in ((other, own), (own, other)):
        answer = harness(*words, *(word for path in order for word in ("--weights", path)))
        assert answer.code == 0, answer.out
    answer = harness(*words, "--weights", other, "--weights", place / "none" / "mine.safetensors")
    assert answer.code == 5 and f"{other} changed" in answer.out
