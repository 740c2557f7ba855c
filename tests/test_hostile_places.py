"""Places that are unkind: full disks, folders nobody may write, foreign locales, odd names, clocks, other writers."""

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from hand_scenes import predictions_of, sequence_of, standing
from test_posetrack import labels
from test_predictions import predictions
from test_records import make_record

from harness.datasets import open_dataset
from harness.datasets.synthtrack.cache import make
from harness.datasets.synthtrack.presets import CARD_FILE
from harness.errors import DataError, HarnessError, UsageError
from harness.inference.ranks import join_ranks
from harness.inference.shards import Shards
from harness.predictions import export_json, write_parquet
from harness.report.training_curves import draw_training_curves
from harness.results import Results
from harness.training.checkpoint import Progress, save_checkpoint, write_log
from harness.verify import verify
from harness.weights import convert, save
from harness.weights.manifest import write_text

EVAL = ("eval", "--method", "mean_pose", "--dataset", "synthtrack-smoke", "--limit", "1", "--no-plots", "--no-floor")


@contextmanager
def full_disk(left):
    """No file can grow beyond `left` bytes, as on a disk that fills up while it is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("left", [0, 100, 4000])
def test_a_full_disk_leaves_the_stored_run_as_it_was(tmp_path, left):
    """Too little for the predictions, or for the record after them."""
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    old.write_bytes(b"old" * 1000)
    new.write_bytes(b"new" * (1000 if left == 4000 else 2000))
    store = Results(tmp_path / "results")
    run = store.save(make_record(), predictions=old)
    large = make_record(warnings=("x" * 8000,))
    with full_disk(left), pytest.raises(HarnessError, match=rf"^{run.folder}: cannot store the run \(File too large\)"):
        store.save(large, predictions=new)
    assert verify(store.one("hrnet")).sound and store.one("hrnet").document == run.document
    assert not list(run.folder.glob(".*"))
    assert store.save(large, predictions=new).record.warnings == large.warnings
    assert len(list(run.folder.glob("predictions-*"))) == 1


def test_a_full_disk_is_named_by_whoever_writes(tmp_path):
    one = (sequence_of([(0, 1, standing())]),)
    dataset = type("Few", (), {"sequences": one, "__len__": lambda _: 1})()
    with full_disk(50):
        with pytest.raises(HarnessError, match=r"a\.parquet: cannot be written"):
            write_parquet(predictions(), tmp_path / "a.parquet")
        with pytest.raises(HarnessError, match=r"shards: finished sequences cannot be kept there"):
            Shards(tmp_path / "shards", dataset, {"method": "x" * 100})
        with pytest.raises(HarnessError, match=r"clip\.json: cannot be written"):
            export_json(predictions_of((0, 0, standing(), 0.5)), one, tmp_path / "export")
        with pytest.raises(DataError, match="cannot write the embedded data set"):
            make("smoke", "val", tmp_path / "made" / "val", workers=1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".lock",)]


def test_weights_and_what_a_training_leaves_on_a_full_disk(tmp_path):
    """Each is named, with what to do, and nothing of it is left; what was there stays."""
    network, old, full = torch.nn.Conv2d(3, 8, 3), tmp_path / "old.pth", tmp_path / "full"
    torch.save(network.state_dict(), old)
    (tmp_path / "log.csv").write_text("step,loss,learning_rate,held_out_pckh\n1,0.5,0.1,0.2\n2,0.4,0.1,0.3\n")
    full.mkdir()
    (full / "a.safetensors").write_text("as it was")
    progress = Progress(log=[{"step": number} for number in range(100)])
    for name, write in {
        "a.safetensors": lambda path: save(network, path),
        "b.safetensors": lambda path: convert(network, old, path),
        "b.pth": lambda path: convert(network, old, path, to="official"),
        "checkpoint.pt": lambda path: save_checkpoint(path, {"module": network}, progress, {}),
        "log.csv": lambda path: write_log(path, progress),
        "curves.png": lambda path: draw_training_curves(tmp_path / "log.csv", path),
        "record.json": lambda path: write_text(path, "x" * 1000),
    }.items():
        path = full / name
        with (
            full_disk(100),
            pytest.raises(HarnessError, match=rf"^{path}: cannot be written \(File too large\); choose"),
        ):
            write(path)
    assert [path.name for path in full.iterdir()] == ["a.safetensors"]
    assert (full / "a.safetensors").read_text() == "as it was"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_who_may_read_what_is_written_is_for_the_umask_to_say(tmp_path, mask, mode):
    """Predictions, exports, records and checkpoints: a colleague reads them where files of the user can be read."""
    one = (sequence_of([(0, 1, standing())]),)
    before = os.umask(mask)
    try:
        write_parquet(predictions(), tmp_path / "a.parquet")
        export_json(predictions_of((0, 0, standing(), 0.5)), one, tmp_path / "export")
        Results(tmp_path / "results").save(make_record(), predictions=tmp_path / "a.parquet")
        save_checkpoint(tmp_path / "checkpoint.pt", {"module": torch.nn.Conv2d(1, 1, 1)}, Progress(), {})
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert len(found) == 5 and set(found.values()) == {mode}, found


@pytest.mark.parametrize("place", ["/proc/results", "/dev/full/results"])
def test_a_folder_that_cannot_be_written_is_named_at_once(harness, smoke_val, place):
    answer = harness(*EVAL, "--results", place)
    assert answer.code == 1 and place in answer.err and len(answer.err.strip().splitlines()) <= 2, answer.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named_at_once(harness, smoke_val, tmp_path):
    tmp_path.chmod(0o555)
    answer = harness(*EVAL, "--results", tmp_path)
    assert answer.code == 1 and f"{tmp_path}" in answer.err and len(answer.err.strip().splitlines()) <= 2


def test_a_clock_that_goes_backwards_changes_nothing_but_the_date(harness, smoke_val, tmp_path, monkeypatch):
    class Clock(datetime):
        now_hour = 23

        @classmethod
        def now(cls, zone=None):
            cls.now_hour -= 1
            return datetime(2026, 1, 1, cls.now_hour, tzinfo=UTC)

    assert harness(*EVAL, "--results", tmp_path / "right").code == 0
    monkeypatch.setattr("harness.request.datetime", Clock)
    seconds = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: next(seconds))
    for _ in range(2):
        answer = harness(*EVAL, "--results", tmp_path / "wrong", "--overwrite")
        assert answer.code == 0, answer.err
    right, wrong = (Results(tmp_path / name).one("mean_pose") for name in ("right", "wrong"))
    assert wrong.record.created.startswith("2026-01-01T") and verify(wrong).sound
    assert wrong.id == right.id and wrong.record.scores == right.record.scores
    assert wrong.record.predictions == right.record.predictions
    assert all(value >= 0 for value in wrong.record.cost.seconds.values())


def stored_by(root, name):
    results = Results(Path(root))
    for number in range(10):
        results.save(make_record(label=f"{number}", request={"user": name, "shared": 0} if number % 2 else {}))


def test_users_of_one_folder_do_not_lose_each_others_runs(tmp_path):
    """Three write at once, runs of their own and one that they share; a fourth reads all the while."""
    context = multiprocessing.get_context("fork")
    users = [context.Process(target=stored_by, args=(tmp_path, name)) for name in ("a", "b", "c")]
    for user in users:
        user.start()
    store = Results(tmp_path)
    while any(user.is_alive() for user in users):
        assert store.scan()[1] == []
    assert [user.exitcode for user in users] == [0, 0, 0]
    runs, problems = store.scan()
    assert len(runs) == 4 and not problems and all(verify(run).sound for run in runs)
    assert not list(tmp_path.rglob(".*"))


SCRIPT = """
import json, os, sys
from harness.cli import run
for words in json.loads(sys.stdin.buffer.read()):
    code = run([os.fsdecode(word.encode()) for word in words])  # as sys.argv has them
    if code:
        sys.exit(code)
"""


def in_locale(commands, **environment):
    """Several commands in one process of that environment and no other locale."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(commands).encode(), capture_output=True, timeout=300,
        env=inherited | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")


@pytest.fixture
def renamed(smoke_val, tmp_path):
    """The data in a folder of an odd name, with a video of one."""
    data = tmp_path / "Zoë's 骨 data"
    shutil.copytree(smoke_val, data)
    label = sorted(data.glob("posetrack_data/val/*.json"))[0]
    old, name = label.stem, "vidéo 7 骨"
    text = json.dumps(json.loads(label.read_text()), ensure_ascii=False).replace(f"/{old}/", f"/{name}/")
    label.unlink()
    label.with_name(f"{name}.json").write_text(text, encoding="utf-8")
    (data / "images" / "val" / old).rename(data / "images" / "val" / name)
    return data


def test_names_with_spaces_and_of_all_alphabets_in_the_c_locale(renamed, tmp_path):
    own = ("--dataset", "posetrack21", "--data-root", str(renamed))
    where = ("--results", str(tmp_path / "my résultats"))
    code, out, err = in_locale(
        [
            ("data", "check", str(renamed)),
            ("eval", "--method", "mean_pose", *own, *where, "--no-plots", "--no-floor"),
            ("verify", *own[2:], *where),
            ("export", "mean_pose", *own[2:], *where, "-o", str(tmp_path / "à rendre")),
            ("table", *where, "--format", "csv"),
        ],
        LC_ALL="C",
    )
    assert code == 0 and "Traceback" not in err and "ok       mean_pose" in out, err[-2000:]
    (run,) = Results(tmp_path / "my résultats").scan()[0]
    assert run.record.dataset.sequences == len(list(renamed.glob("posetrack_data/val/*.json")))
    assert (tmp_path / "à rendre" / "vidéo 7 骨.json").is_file()


def test_a_locale_that_cannot_name_the_files_is_told_from_a_fault(renamed):
    code, _, err = in_locale(
        [("data", "check", str(renamed), "--images", "decode")],
        LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="utf-8",
    )  # fmt: skip
    assert code == 1 and "cannot be written in ascii; set PYTHONUTF8=1" in err and "Traceback" not in err, err


def test_a_label_file_whose_name_is_no_text_is_read(tmp_path):
    folder = tmp_path / "annotations" / "val"
    folder.mkdir(parents=True)
    content = json.dumps(labels(["images/val/v/000000.jpg"]))
    (folder / os.fsdecode(b"caf\xe9.json")).write_text(content)
    one = open_dataset("posetrack18", root=tmp_path, split="val")
    assert len(one) == 1 and one.fingerprint.startswith("sha256:")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"7", b"\xff"])
def test_half_written_notes_beside_data_and_shards_are_named(tmp_path, content):
    made = tmp_path / "val"
    made.mkdir()
    (made / CARD_FILE).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{made / CARD_FILE}: is damaged; remove the folder"):
        make("smoke", "val", made)
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "request.json").write_bytes(content)
    with pytest.raises(HarnessError, match=rf"^{shards / 'request.json'}: is damaged"):
        Shards(shards, (), {})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORLD_SIZE", "y", "from 1 on"), ("WORLD_SIZE", "0", "from 1 on"), ("WORLD_SIZE", "9" * 50, "from 1 on"),
        ("RANK", "y", "from 0 to 1"), ("RANK", "2", "from 0 to 1"), ("RANK", "-1", "from 0 to 1"),
        ("LOCAL_RANK", "", "from 0 on"), ("LOCAL_WORLD_SIZE", "1.5", "from 1 on"),
    ],
)  # fmt: skip
def test_variables_of_torchrun_that_are_no_numbers_are_named(monkeypatch, name, value, said):
    for variable, sound in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(variable, value if variable == name else sound)
    join_ranks.cache_clear()
    with pytest.raises(UsageError, match=rf"^{name} is '{value[:40]}', expected a number {said}; unset it"):
        join_ranks()
    join_ranks.cache_clear()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "0"])
def test_a_factor_that_is_none_is_a_wrong_option(harness, value):
    answer = harness("eval", "--method", "mean_pose", "--box-enlarge", value)
    assert answer.code == 2 and "Invalid value for '--box-enlarge'" in answer.err


@pytest.mark.parametrize("command", [("runs", "list", "--results"), (*EVAL[:3], "--data-root"), (*EVAL, "--weights")])
def test_a_path_that_is_too_long_is_said_to_be(harness, smoke_val, command):
    answer = harness(*command, "/" + "x" * 5000)
    assert answer.code in (2, 4) and command[-1] in answer.err and "too long" in answer.err.lower(), answer.err
    assert len(answer.err) < 400


def test_a_wrong_value_in_the_environment_is_named_by_its_variable(harness, monkeypatch):
    monkeypatch.setenv("HARNESS_BOX_ENLARGE", "wide")
    answer = harness("eval", "--method", "mean_pose")
    assert answer.code == 2 and "HARNESS_BOX_ENLARGE" in answer.err
    answer = harness("eval", "--method", "mean_pose", "--box-enlarge", "high")
    assert answer.code == 2 and "HARNESS_BOX_ENLARGE" not in answer.err


def test_a_current_folder_that_was_removed_is_told(harness, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    answer = harness("runs", "list")
    assert answer.code == 1 and answer.err.startswith("harness: the current folder was removed; change to one")


def test_memory_that_does_not_suffice_is_told_in_a_line(harness, monkeypatch):
    def too_much(*_):
        raise MemoryError

    monkeypatch.setattr("harness.results.Results.scan", too_much)
    answer = harness("runs", "list")
    assert (answer.code, answer.err.count("\n")) == (1, 1) and "the memory does not suffice" in answer.err
