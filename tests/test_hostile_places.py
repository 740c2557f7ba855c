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
from hand_scenes import predictions_of, sequence_of, standing
from test_posetrack import labels
from test_predictions import predictions
from test_records import make_record

from harness.datasets import open_dataset
from harness.datasets.synthtrack.cache import make
from harness.datasets.synthtrack.presets import CARD_FILE
from harness.errors import DataError, HarnessError
from harness.inference.shards import Shards
from harness.predictions import export_json, write_parquet
from harness.results import Results
from harness.verify import verify

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
