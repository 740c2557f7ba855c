"""Whatever is changed after a run, `harness verify` names it and exits with 5: each file, each field of the record."""

import json
import random
import shutil
from dataclasses import replace

import pytest
from fuzzing import VALUES

from harness.datasets import open_dataset
from harness.datasets.synthtrack import cache_folder
from harness.datasets.synthtrack.drawn import LIST_FILE
from harness.datasets.synthtrack.presets import CARD_FILE
from harness.errors import DataError
from harness.records import WeightsUsed, digest_of
from harness.reopen import rescorer
from harness.results import Results, read_run
from harness.verify import verify
from harness.weights import find_weights, weights

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
    answer = checked(harness, place)
    assert answer.code == 5 and answer.out.count("is missing") == 1


def test_a_removed_record_is_missed_where_something_of_its_run_is_left(harness, place):
    """An interrupted run has no record yet, and is no finding."""
    (folder,) = place.glob("results/*/*/*")
    (folder.parent / "hrnet-tiny-00000000" / "unfinished").mkdir(parents=True)
    (folder / "unfinished").mkdir()
    assert checked(harness, place).code == 0
    (folder / "record.json").unlink()
    answer = checked(harness, place)
    assert answer.code == 5 and answer.out.count("CHANGED") == 1 and f"CHANGED  {folder.name}" in answer.out
    assert f"record: {folder / 'record.json'} is missing" in answer.out and "give the command again" in answer.out
    next(folder.glob("predictions-*")).rename(folder / "alignment.npz")
    assert checked(harness, place).code == 5
    (folder / "alignment.npz").unlink()
    assert harness("verify", "--results", place / "results").code == 2  # no runs at all


def test_a_run_in_the_place_of_another_split_is_a_finding(harness, place, monkeypatch):
    """A run in a place of no results folder is as good as any."""
    (folder,) = place.glob("results/*/*/*")
    for other in ("synthtrack-smoke/test", "synthtrack/val"):
        moved = shutil.copytree(folder, place / "results" / other / folder.name)
        said = f"record: {moved / 'record.json'} lies in {other}, but is of synthtrack-smoke val"
        answers = [checked(harness, place), harness("verify", moved, "--results", place / "results")]
        assert all(answer.code == 5 and said in answer.out and answer.out.count(" lies in ") == 1 for answer in answers)
        assert harness("verify", moved).code == 0  # in no results folder
        shutil.rmtree(moved)
    monkeypatch.chdir(folder)
    assert all(harness("verify", ".", "--results", root).code == 0 for root in ("../../..", ".."))


def test_named_weights_that_are_not_there_or_that_no_run_means_are_a_usage_error(harness, place):
    other = shutil.copy(find_weights("fami-tiny")[0], place / "other.safetensors")
    words = ("verify", "--results", place / "results", "--weights")
    for wrong in (place / "none" / "mine.safetensors", other, place):
        answer = harness(*words, wrong)
        assert answer.code == 2 and str(wrong) in answer.err and not answer.out, answer.out
    renamed = shutil.copy(place / "mine.safetensors", place / "renamed.safetensors")
    assert "weights" in harness(*words, renamed).out.split("not checked")[0]


def test_shipped_weights_that_were_removed_are_a_finding(harness, place, monkeypatch):
    (run,) = Results(place / "results").scan()[0]
    entry = replace(weights["hrnet-tiny"], folder=place / "nowhere")
    Results(place / "shipped").save(
        replace(run.record, weights=WeightsUsed("hrnet-tiny", f"sha256:{entry.sha256}")),
        predictions=run.predictions_path,
    )
    assert harness("verify", "--results", place / "shipped").code == 0
    monkeypatch.setitem(weights._items, "hrnet-tiny", entry)
    answer = harness("verify", "--results", place / "shipped")
    assert answer.code == 5 and f"weights: {entry.path} is missing" in answer.out
    monkeypatch.setitem(weights._items, "hrnet-tiny", replace(entry, url="https://example.org/x"))
    assert harness("verify", "--results", place / "shipped").code == 0  # a download that nobody made


@pytest.fixture
def own_cache_copy(smoke_val, tmp_path, monkeypatch):
    """The root of the embedded data in a cache that a test may damage."""
    root = cache_folder("smoke") / "val"
    base = root.parents[4]
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "cache" / root.relative_to(base)
    shutil.copytree(root, copy)
    return copy


def test_embedded_labels_that_cannot_be_read_are_a_finding(harness, place, own_cache_copy):
    assert checked(harness, place).code == 0
    label = next(own_cache_copy.glob("posetrack_data/val/*.json"))
    for damage in ("halved", "emptied", "removed"):
        whole = label.read_bytes()
        DAMAGES[damage](label)
        answer = checked(harness, place)
        label.write_bytes(whole)
        assert answer.code == 5 and "         data: " in answer.out, answer.out
        assert damage == "removed" or str(label) in answer.out


def test_an_embedded_picture_that_changed_since_it_was_drawn_is_a_finding(harness, place, own_cache_copy):
    name = open_dataset("synthtrack-smoke", "val").sequences[0].name
    pictures = sorted(own_cache_copy.glob(f"images/val/{name}/*"))
    for damage in (flipped, halved, lambda path: path.unlink()):
        whole = pictures[3].read_bytes()
        damage(pictures[3])
        answer = checked(harness, place)
        pictures[3].write_bytes(whole)
        assert answer.code == 5 and "images: 1 of " in answer.out and str(pictures[3]) in answer.out, answer.out
    other = next(path for path in own_cache_copy.glob("images/val/*/*") if path.parent.name != name)
    flipped(other)  # of a sequence that the run did not look at
    assert checked(harness, place).code == 0
    shutil.rmtree(own_cache_copy / "images")
    assert checked(harness, place).code == 5


def test_pictures_drawn_otherwise_than_for_the_record_are_not_compared(harness, place, own_cache_copy):
    (run,) = Results(place / "results").scan()[0]
    data = replace(run.record.dataset, images_fingerprint="sha256:" + "00" * 32)
    Results(place / "results").save(replace(run.record, dataset=data), predictions=run.predictions_path)
    answer = checked(harness, place)
    assert answer.code == 0 and "not checked: images: those of synthtrack-smoke were drawn otherwise" in answer.out
    card = own_cache_copy / CARD_FILE
    known = json.loads(card.read_text())
    assert known.pop("images_sha256")
    card.write_text(json.dumps(known))
    answer = checked(harness, place)
    assert answer.code == 0 and "drawn by an earlier version" in answer.out


def test_the_list_of_drawn_pictures_is_covered_too(harness, place, own_cache_copy):
    for damage in (halved, lambda path: path.unlink()):
        damage(own_cache_copy / LIST_FILE)
        answer = checked(harness, place)
        assert answer.code == 5 and str(own_cache_copy / LIST_FILE) in answer.out


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


def test_a_record_that_names_a_key_twice_is_a_finding(harness, place):
    """JSON readers keep the last, of which the digest is; people see the first."""
    (path,) = place.glob("results/*/*/*/record.json")
    whole = path.read_text()
    for forged in (('"scores": [', '"scores": [],\n  "scores": ['), ('"width": ', '"width": 99, "wid\\u0074h": ')):
        assert whole.count(forged[0]) == 1
        path.write_text(whole.replace(*forged))
        answer = checked(harness, place)
        name = forged[0].split('"')[1]
        assert answer.code == 5 and f"         record: {path} names '{name}' twice" in answer.out, answer.out


def test_scores_without_predictions_are_those_that_the_probe_found(harness, tmp_path, smoke_val):
    asked = ("--method", "mean_pose", "--dataset", "synthtrack-smoke", "--device", "cpu", "--results", tmp_path)
    probe = ("--probe", "boxes_jitter=0.1", "--replicates", 100, "--drop-predictions")
    assert harness("probe", *asked, *probe).code == 0
    answer = harness("verify", "--results", tmp_path)
    said = sorted(line.split("  ")[0] for line in answer.out.splitlines() if "checked record" in line)
    assert answer.code == 0 and said == ["ok", "partly"] and "checked record, weights, data, findings\n" in answer.out
    (path,) = [path for path in tmp_path.rglob("record.json") if "jitter" in path.read_text()]
    whole = path.read_text()
    for joint, named in (("total", "AP of 1 of 23"), ("nose", "AP of 2 of 23 differs from the scores: nose")):
        document = json.loads(whole)
        (score,) = [score for score in document["scores"] if score["joint"] == joint and of_all(score)]
        score["value"] += 0.001
        path.write_text(json.dumps(document | {"digest": digest_of(document)}))
        answer = harness("verify", "--results", tmp_path)
        assert answer.code == 5 and f"findings: {named}" in answer.out, answer.out


def of_all(score):
    return (score["protocol"], score["metric"], score["slice"]) == ("poseval", "ap", "all")


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
    """A data set of one's own: its labels, and the size and content of any image."""
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
    image.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of equal size, in the midst of the video
    answer = harness(*verified)
    image.write_bytes(whole)
    assert answer.code == 5 and f"images: of posetrack21 val changed: those of {name} (1 of " in answer.out
    assert harness(*verified).code == 0
    label.write_text(label.read_text().replace('"track_id"', ' "track_id"', 1))
    answer = harness(*verified)
    assert answer.code == 5 and "data: labels of posetrack21 val changed" in answer.out
    assert Results(tmp_path / "own").scan()[1] == []


@pytest.fixture(scope="module")
def own_made(made, smoke_val, tmp_path_factory):
    """A data set of one's own in PoseTrack21's layout, and a run on it."""
    from harness.cli import run

    place = tmp_path_factory.mktemp("own")
    shutil.copytree(smoke_val, place / "data")
    words = ("--dataset", "posetrack21", "--data-root", place / "data", "--results", place / "results")
    assert run([*map(str, (*WHOLE, *words))]) == 0
    return place


@pytest.fixture
def own(own_made, tmp_path):
    shutil.copytree(own_made, tmp_path / "own")
    return tmp_path / "own"


GONE = {
    "a label file halved": ("data", lambda root: halved(next(root.glob("posetrack_data/val/*")))),
    "a label file emptied": ("data", lambda root: next(root.glob("posetrack_data/val/*")).write_bytes(b"")),
    "a label file of []": ("data", lambda root: next(root.glob("posetrack_data/val/*")).write_bytes(b"[]")),
    "all labels removed": ("data", lambda root: shutil.rmtree(root / "posetrack_data")),
    "no such root": ("data", shutil.rmtree),
    "all images removed": ("images", lambda root: shutil.rmtree(root / "images")),
    "an image removed": ("images", lambda root: sorted(root.glob("images/val/*/*"))[3].unlink()),
}


@pytest.mark.parametrize("what", GONE)
def test_named_data_that_are_gone_or_unreadable_are_a_finding(harness, own, what):
    verified = ("verify", "--results", own / "results", "--data-root", own / "data")
    answer = harness(*verified)
    assert answer.code == 0 and "not checked" not in answer.out
    check, damage = GONE[what]
    damage(own / "data")
    answer = harness(*verified)
    assert answer.code == 5 and f"         {check}: " in answer.out and str(own / "data") in answer.out, answer.out
    answer = harness("verify", "--results", own / "results")
    assert answer.code == 0 and "not checked: data: posetrack21 is not at hand" in answer.out


def saved_for(store, run, name, **changes):
    data = replace(run.record.dataset, name=name, **changes)
    return store.save(replace(run.record, dataset=data), predictions=run.predictions_path)


def test_a_root_is_named_for_the_data_sets_whose_labels_lie_in_it(harness, own):
    store = Results(own / "results")
    (run,) = store.scan()[0]
    saved_for(store, run, "posetrack17", fingerprint="sha256:" + "00" * 32)
    saved_for(store, run, "no-such-data", fingerprint="sha256:" + "00" * 32)
    words = ("verify", "--results", own / "results", "--data-root")
    answer = harness(*words, own / "data")
    assert answer.code == 0, answer.out
    assert "holds labels of posetrack21, and none of posetrack17" in answer.out
    assert "no-such-data is not at hand" in answer.out
    answer = harness(*words, own / "nowhere")
    assert answer.code == 5 and answer.out.count("no such folder") == 2


def test_labels_in_a_place_of_two_releases_are_those_of_the_one_they_fit(harness, own):
    store, data = Results(own / "results"), own / "data"
    (data / "annotations").mkdir()
    (data / "posetrack_data" / "val").rename(data / "annotations" / "val")
    (run,) = store.scan()[0]
    run = replace(run, folder=run.folder.rename(own / "kept"))
    found = open_dataset("posetrack21", "val", root=data).fingerprint
    saved_for(store, run, "posetrack21", fingerprint=found)
    saved_for(store, run, "posetrack18", fingerprint="sha256:" + "00" * 32)
    words = ("verify", "--results", own / "results", "--data-root", data)
    answer = harness(*words)
    assert answer.code == 0 and "are those of posetrack21, not of posetrack18" in answer.out, answer.out
    halved(next((data / "annotations/val").iterdir()))
    answer = harness(*words)
    assert answer.code == 5 and answer.out.count("         data: ") == 2  # whose they are is not known any more


def test_of_weights_of_one_name_those_of_the_record_are_checked(harness, place):
    own, other = place / "mine.safetensors", place / "other" / "mine.safetensors"
    other.parent.mkdir()
    other.write_bytes(b"of another training")
    words = ("verify", "--results", place / "results")
    for order in ((other, own), (own, other)):
        answer = harness(*words, *(word for path in order for word in ("--weights", path)))
        assert answer.code == 0, answer.out
    answer = harness(*words, "--weights", other)
    assert answer.code == 5 and f"{other} changed" in answer.out
