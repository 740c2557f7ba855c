"""Records round-trip through JSON, requests have keys, and the store survives bad files, two writers and edits."""

from __future__ import annotations

import json
import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.environment import describe_environment
from harness.errors import CheckError, DataError, HarnessError, UsageError
from harness.files import write_atomically
from harness.records import (
    SCHEMA,
    BoxesUsed,
    Cost,
    DataUsed,
    Environment,
    InferenceUsed,
    MethodUsed,
    Partial,
    RunRecord,
    WeightsUsed,
    digest_of,
    dump_record,
    parse_record,
)  # fmt: skip
from harness.results import RECORD_FILE, Results, file_sha256, read_run
from harness.scoring.scores import Score, Scores
from harness.verify import verify


def make_record(**changes: object) -> RunRecord:
    record = RunRecord(
        created="2026-01-31T12:00:00Z",
        command="harness eval --method hrnet --split val",
        method=MethodUsed("hrnet", "HRNet", "tiny", {"width": 16}, "MIT"),
        weights=WeightsUsed("hrnet-tiny", "sha256:" + "ab" * 32),
        dataset=DataUsed("synthtrack", "val", "sha256:" + "cd" * 32, "poseval", 4, 120, 120, 360),
        boxes=BoxesUsed("truth", "sha256:" + "ef" * 32, 360, 1.0),
        inference=InferenceUsed("heatmap", (96, 128), 1.25, (0,), score_rule="joint x box", batch_size=32),
        scores=(
            Score("poseval", "ap", "all", "nose", 81.25, 360, 355),
            Score("poseval", "ap", "all", "total", 1 / 3, 5400, 5400, 0.25, 0.5),
            Score("poseval", "ap", "occluded", "nose", math.nan),
        ),
        cost=Cost({"read": 1.5, "forward": 3.25}, 360, 120, 75.0, 440_000),
        environment=Environment("3.11.9", "Linux x86_64", 2, {"torch": "2.13.0", "numpy": "1.26.4"}, "0123abcd"),
        warnings=("poseval ap: equal scores; the total lies in 0.25..0.50 over all orders",),
        scoring={"compat": "official"},
    )
    return replace(record, **changes)


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    file = tmp_path / "poses.parquet"
    file.write_bytes(b"the poses")
    return file


def test_a_record_round_trips_through_its_text() -> None:
    record = make_record()
    text = dump_record(record)
    again, document = parse_record(text.encode(), source="x")
    assert dump_record(again) == text
    assert again.method == record.method and again.boxes == record.boxes and again.cost == record.cost
    assert again.scores[1].value == 1 / 3 and math.isnan(again.scores[2].value)
    assert again.table.value("ap", joint="nose", slice="all") == 81.25
    assert document["schema"] == SCHEMA and document["id"] == record.id == again.id


def test_the_text_has_one_score_per_line_and_stable_order() -> None:
    lines = dump_record(make_record()).splitlines()
    assert sum('"metric": "ap"' in line for line in lines) == 3
    assert lines[1:4] == ['  "schema": 1,', f'  "id": "{make_record().id}",', '  "created": "2026-01-31T12:00:00Z",']
    assert '"value": null' in dump_record(make_record())
    assert "NaN" not in dump_record(make_record())


def test_a_score_changes_two_lines_of_the_diff() -> None:
    before = dump_record(make_record()).splitlines()
    scores = (replace(make_record().scores[0], value=81.5), *make_record().scores[1:])
    after = dump_record(make_record(scores=scores)).splitlines()
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [
        next(i for i, line in enumerate(before) if "81.25" in line),
        next(i for i, line in enumerate(before) if '"digest"' in line),
    ]


def test_a_label_changes_neither_id_nor_digest_and_old_records_have_none() -> None:
    plain, named = make_record(), make_record(label="seed 1")
    assert named.id == plain.id
    documents = [json.loads(dump_record(record)) for record in (plain, named)]
    assert documents[0]["digest"] == documents[1]["digest"] == digest_of(documents[1])
    del documents[0]["label"], documents[0]["cost"]["multiply_adds"]  # as written before there were any
    read = parse_record(json.dumps(documents[0]).encode(), source="old")[0]
    assert (read.label, read.cost.multiply_adds) == ("", None)


@pytest.mark.parametrize(
    "change",
    [
        {"method": MethodUsed("hrnet", "HRNet", "small", {"width": 16})},
        {"method": MethodUsed("hrnet", "HRNet", "tiny", {"width": 18})},
        {"weights": None},
        {"weights": WeightsUsed("hrnet-tiny", "sha256:" + "00" * 32)},
        {"dataset": DataUsed("synthtrack", "val", "sha256:" + "00" * 32, "poseval", 4, 120, 120, 360)},
        {"boxes": BoxesUsed("faster.json", "sha256:" + "00" * 32, 360)},
        {"inference": InferenceUsed("heatmap", (96, 128), 1.25, (0,), flip_test=True, score_rule="joint x box")},
        {"inference": InferenceUsed("dark", (96, 128), 1.25, (0,), score_rule="joint x box")},
        {"partial": Partial("2 of 4 sequences (--limit 2)")},
        {"request": {"probe": "blur-4"}},
        {"harness_version": "0.0.0"},
    ],
)
def test_another_request_has_another_id(change: dict[str, object]) -> None:
    assert make_record(**change).id != make_record().id


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2027-01-01T00:00:00Z"},
        {"scores": ()},
        {"boxes": BoxesUsed("truth", "sha256:" + "ef" * 32, 12, 0.5)},
        {"inference": InferenceUsed("heatmap", (96, 128), 1.25, (0,), score_rule="joint x box", batch_size=8)},
        {"method": MethodUsed("hrnet", "HRNet, renamed", "tiny", {"width": 16}, "BSD")},
    ],
)
def test_what_is_not_asked_for_leaves_the_id_alone(change: dict[str, object]) -> None:
    assert make_record(**change).id == make_record().id


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), SCHEMA + 1, f"schema {SCHEMA + 1} is newer than {SCHEMA}"),
        (("schema",), "1", "schema: expected 1, found '1'"),
        (("method", "name"), 3, "method.name: expected text, found 3"),
        (("cost", "clips"), True, "cost.clips: expected a whole number, found True"),
        (("cost", "seconds"), [1], "cost.seconds: expected an object"),
        (("cost", "parameters"), 10**400, "not valid JSON"),
        (("inference", "crop_size"), [96], "inference.crop_size: expected 2 entries, found 1"),
        (("scores",), {}, "scores: expected a list"),
        (("colour",), "red", "colour: unknown field"),
        (("boxes",), None, "boxes: expected an object, found None"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str, ...], value: object, message: str) -> None:
    document = json.loads(dump_record(make_record()))
    target = document
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    with pytest.raises(DataError, match=r"^runs/record\.json: ") as error:
        parse_record(json.dumps(document).encode(), source="runs/record.json")
    assert message in str(error.value)


def test_what_a_probe_found_has_one_row_per_line_and_comes_back() -> None:
    plain = make_record()
    rows = [{"ap": 81.25, "dose": 0.0}, {"ap": None, "dose": 0.5}]
    probed, bare = (replace(plain, findings=found) for found in ({"cell": "flip", "rows": rows}, {"cell": "flip"}))
    assert '"findings"' not in dump_record(plain)
    lines = [line.strip(" ,") for line in dump_record(probed).splitlines()]
    assert [json.dumps(row) for row in rows] == [line for line in lines if line.startswith('{"ap"')]
    for record in (probed, bare):
        read, document = parse_record(dump_record(record).encode(), source="x")
        assert read.findings == record.findings and document["digest"] == digest_of(document)
    assert len({json.loads(dump_record(record))["digest"] for record in (plain, probed, bare)}) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"schema": 1}', b"null", b"NaN"])
def test_foreign_bytes_are_refused_with_the_file_named(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^there\.json: "):
        parse_record(content, source="there.json")


def test_missing_field_is_named() -> None:
    document = json.loads(dump_record(make_record()))
    del document["dataset"]["fingerprint"]
    with pytest.raises(DataError, match=r"dataset.fingerprint: missing; expected text"):
        parse_record(json.dumps(document).encode(), source="x")
    document = json.loads(dump_record(make_record()))
    del document["inference"]
    with pytest.raises(DataError, match=r"inference: missing; expected an object or null"):
        parse_record(json.dumps(document).encode(), source="x")


def test_a_command_that_is_not_utf8_is_stored(tmp_path: Path) -> None:
    run = Results(tmp_path).save(make_record(command="harness eval --boxes \udcff.json"))
    assert run.record.command == "harness eval --boxes ?.json"


def test_predictions_that_are_not_there_are_told_with_the_reason(tmp_path: Path, poses: Path) -> None:
    results = Results(tmp_path / "results")
    run = results.save(make_record(), predictions=poses)
    assert run.stored_predictions() == run.predictions_path
    dropped = results.drop_predictions(run)
    assert not list(run.folder.glob("predictions-*")) and dropped.record.predictions.sha256 == file_sha256(poses)
    with pytest.raises(DataError, match=f"^{run.folder}: its predictions were not kept, only their hash"):
        dropped.stored_predictions()
    again = results.save(make_record(), predictions=poses)
    again.stored_predictions().unlink()
    with pytest.raises(DataError, match=f"^{run.folder}: the stored predictions are missing"):
        again.stored_predictions()
    with pytest.raises(HarnessError, match="cannot store the run"):
        results.relabel(replace(again, folder=tmp_path / "gone"), "new")


def test_saving_and_reading_back(tmp_path: Path, poses: Path) -> None:
    results = Results(tmp_path / "results")
    assert results.existing("synthtrack", "val", make_record().id) is None
    run = results.save(make_record(), predictions=poses)
    assert run.folder == tmp_path / "results" / "synthtrack" / "val" / make_record().id
    assert run.predictions_path is not None and run.predictions_path.read_bytes() == b"the poses"
    assert run.record.predictions is not None and run.record.predictions.sha256 == file_sha256(poses)
    found = results.existing("synthtrack", "val", make_record().id)
    assert found is not None and dump_record(found.record) == dump_record(run.record)
    assert verify(run).sound


def test_saving_again_replaces_predictions_and_leaves_no_litter(tmp_path: Path, poses: Path) -> None:
    results = Results(tmp_path / "results")
    results.save(make_record(), predictions=poses)
    poses.write_bytes(b"other poses")
    run = results.save(make_record(), predictions=poses)
    assert {path.name for path in run.folder.iterdir()} == {RECORD_FILE, run.record.predictions.file}  # type: ignore[union-attr]
    for left in (f".{RECORD_FILE}.x1", ".predictions-x2"):  # by a writer that was killed
        (run.folder / left).write_bytes(b"half")
    again = results.save(make_record(), predictions=poses)
    assert {path.name for path in again.folder.iterdir()} == {RECORD_FILE, again.record.predictions.file}  # type: ignore[union-attr]
    assert verify(run).sound


def test_a_label_is_changed_where_the_run_lies(tmp_path: Path, poses: Path) -> None:
    results = Results(tmp_path / "results")
    before = results.save(make_record(), predictions=poses)
    after = results.relabel(before, "seed 2")
    assert after.record == replace(before.record, label="seed 2") and verify(after).sound
    path = before.folder / RECORD_FILE
    path.write_text(path.read_text().replace('"parameters": ', '"parameters": 1'))
    with pytest.raises(CheckError, match="was edited after it was written"):
        results.relabel(after, "seed 3")
    assert not verify(read_run(before.folder)).sound and "seed 3" not in path.read_text()
    path.unlink()
    with pytest.raises(DataError, match=r"record.json: cannot be read \(No such file"):
        read_run(before.folder)


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "a\0b", "-x"])
def test_a_name_that_leaves_the_results_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a results folder"):
        Results(tmp_path).folder("synthtrack", name, "hrnet-tiny-01234567")


def test_a_results_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(HarnessError, match="cannot store the run"):
        Results(tmp_path / "results").save(make_record())


def test_predictions_outside_the_folder_are_refused(tmp_path: Path, poses: Path) -> None:
    run = Results(tmp_path).save(make_record(), predictions=poses)
    text = (run.folder / RECORD_FILE).read_text()
    (run.folder / RECORD_FILE).write_text(text.replace('"file": "', '"file": "../../'))
    with pytest.raises(DataError, match=r"predictions\.file: expected a file name beside the record"):
        read_run(run.folder)


def test_scan_names_what_it_skips(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.save(make_record())
    for name, content in {"foreign": "[]", "newer": '{"schema": 99}'}.items():
        (tmp_path / "synthtrack" / "val" / name).mkdir()
        (tmp_path / "synthtrack" / "val" / name / RECORD_FILE).write_text(content)
    runs, problems = results.scan()
    assert [run.id for run in runs] == [make_record().id]
    assert [problem.folder.name for problem in problems] == ["foreign", "newer"]
    assert "newer than" in problems[1].message
    with pytest.raises(DataError, match="update the harness"):
        results.find("newer")


def test_finding_runs(tmp_path: Path) -> None:
    results = Results(tmp_path)
    first = results.save(make_record())
    second = results.save(make_record(method=MethodUsed("hrnet", "HRNet", "small")))
    third = results.save(make_record(method=MethodUsed("mean_pose", "Mean pose", "tiny"), weights=None))
    assert results.one(first.id).id == first.id
    assert results.one(first.id[-8:]).id == results.one("hrnet-t").id == first.id
    assert results.one(str(third.folder)).id == results.one(str(third.folder / RECORD_FILE)).id == third.id
    assert {run.id for run in results.find("hrnet")} == {first.id, second.id}
    with pytest.raises(UsageError, match="'hrnet' names 2 runs"):
        results.one("hrnet")
    with pytest.raises(UsageError, match="unknown run 'mean_pos3'; did you mean 'mean_pose'"):
        results.find("mean_pos3")
    with pytest.raises(UsageError, match="holds no runs"):
        Results(tmp_path / "nowhere").find("hrnet")


def _save_many(root: Path, poses: Path) -> None:
    for _ in range(15):
        Results(root).save(make_record(), predictions=poses)


def test_two_writers_leave_one_sound_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
        writers.append(context.Process(target=_save_many, args=(tmp_path / "results", tmp_path / name)))
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (run,), problems = Results(tmp_path / "results").scan()
    assert not problems and verify(run).sound and len(list(run.folder.iterdir())) == 2


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "record.json"
    write_atomically(file, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.results.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def _same(record: RunRecord, predictions: Path) -> Scores:
    return Scores(make_record().scores)


def test_verify_looks_at_everything_it_is_given(tmp_path: Path, poses: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    record = make_record(weights=WeightsUsed("hrnet-tiny", file_sha256(weights)))
    run = Results(tmp_path / "results").save(record, predictions=poses)
    full = verify(run, rescore=_same, weights=weights, fingerprint=record.dataset.fingerprint)
    assert full.sound and not full.skipped
    assert full.checked == ("record", "predictions", "weights", "data", "scores")
    bare = verify(run)
    assert bare.sound and [text.split(":")[0] for text in bare.skipped] == ["weights", "data", "scores"]


def test_verify_names_every_change(tmp_path: Path, poses: Path) -> None:
    run = Results(tmp_path / "results").save(make_record(), predictions=poses)
    assert run.predictions_path is not None
    run.predictions_path.write_bytes(b"better poses")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")

    def rescore(record: RunRecord, predictions: Path) -> Scores:
        assert predictions == run.predictions_path
        return Scores((replace(record.scores[0], value=math.nextafter(81.25, 82)), *record.scores[1:]))

    text = (run.folder / RECORD_FILE).read_text()
    (run.folder / RECORD_FILE).write_text(text.replace('"clips": 360', '"clips": 361'))
    found = verify(read_run(run.folder), rescore=rescore, weights=weights, fingerprint="sha256:00")
    assert [finding.check for finding in found.findings] == ["record", "predictions", "weights", "data", "scores"]
    messages = [str(finding) for finding in found.findings]
    assert "was edited" in messages[0] and "changed: expected sha256:" in messages[1]
    assert "1 of 3 differ: poseval ap all nose: stored 81.25" in messages[4] and "81.25000000000001" in messages[4]


def test_verify_says_what_it_has_no_predictions_for(tmp_path: Path) -> None:
    run = Results(tmp_path / "results").save(make_record())
    found = verify(run, rescore=_same)
    assert found.sound and "predictions: the record names no predictions" in found.skipped
    assert "scores: not recomputed" in found.skipped


def test_verify_names_scores_that_only_one_side_has(tmp_path: Path, poses: Path) -> None:
    def rescore(record: RunRecord, predictions: Path) -> Scores:
        return Scores((*record.scores[1:], replace(record.scores[0], metric="pckh")))

    run = Results(tmp_path / "results").save(make_record(), predictions=poses)
    (finding,) = verify(run, rescore=rescore).findings
    said = finding.message
    assert said.startswith("2 of 3 differ: poseval ap all nose: stored 81.25 (n_truth 360, n_predicted 355), ")
    assert "recomputed nothing" in said and "pckh all nose: stored nothing, recomputed 81.25" in said


def test_verify_finds_missing_predictions_and_moved_folders(tmp_path: Path, poses: Path) -> None:
    run = Results(tmp_path / "results").save(make_record(), predictions=poses)
    assert run.predictions_path is not None
    run.predictions_path.unlink()
    moved = run.folder.rename(run.folder.parent / "hrnet-tiny-00000000")
    checks = [str(finding) for finding in verify(read_run(moved), rescore=_same).findings]
    assert len(checks) == 2 and "it lies in the folder hrnet-tiny-00000000" in checks[0] and "is missing" in checks[1]


def test_verify_names_a_score_that_stands_before_the_one_that_is_recomputed(tmp_path: Path, poses: Path) -> None:
    forged = (replace(make_record().scores[0], value=99.9), *make_record().scores)
    run = Results(tmp_path / "results").save(make_record(scores=forged), predictions=poses)
    (finding,) = verify(run, rescore=_same).findings
    assert "holds more than one score of poseval ap all nose" in finding.message


def test_verify_names_a_record_that_was_removed_after_it_was_read(tmp_path: Path) -> None:
    run = Results(tmp_path / "results").save(make_record())
    (run.folder / RECORD_FILE).unlink()
    (finding,) = verify(run).findings
    assert finding.check == "record" and f"{run.folder / RECORD_FILE} cannot be read again" in finding.message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("none", "no probe has left AP of the run beside its scores"),
        (
            [7, {"what": "alignment"}, {"what": "change", "slice": "all", "name": "nose", "b": None}],
            "no probe has left",
        ),
        ([{"what": "change", "slice": "all", "name": "nose", "b": 81.25}], ""),
        ([{"what": "change", "slice": "all", "name": "nose", "b": 81.2502}], "nose: scores 81.25, findings 81.2502"),
        ([{"what": "change", "slice": "all", "name": "Head", "b": 50.0}], "Head: scores nothing, findings 50.0"),
    ],
)
def test_verify_compares_scores_with_what_a_probe_found(tmp_path: Path, poses: Path, rows: object, said: str) -> None:
    store = Results(tmp_path / "results")
    kept = store.save(make_record(findings={"rows": rows}), predictions=poses)
    assert not verify(kept).partly and "findings" not in verify(kept).checked
    found = verify(store.drop_predictions(kept))
    told = [str(text) for text in (*found.findings, *found.skipped) if str(text).startswith("findings")]
    assert found.partly and found.sound == ("findings " not in said)
    assert len(told) == bool(said) and all(said in text for text in told)


def test_verify_reports_scores_that_cannot_be_recomputed(tmp_path: Path, poses: Path) -> None:
    def rescore(record: RunRecord, predictions: Path) -> Scores:
        raise DataError("no frame in common")

    run = Results(tmp_path / "results").save(make_record(), predictions=poses)
    (finding,) = verify(run, rescore=rescore).findings
    assert str(finding) == "scores: cannot be recomputed: no frame in common"


def test_the_environment_names_what_shapes_numbers() -> None:
    found = describe_environment()
    assert found.packages["numpy"] and found.cpu_count >= 1 and found.python.startswith("3.11")
