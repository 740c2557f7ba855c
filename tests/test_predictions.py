import hashlib
import json
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from harness.datasets import DataSet
from harness.datasets.layouts import read_sequence
from harness.datasets.sequences import NO_TRACK, Frame, Sequence, Truth
from harness.errors import DataError, HarnessError, UsageError
from harness.predictions import (
    Predictions,
    by_sequence,
    concatenate,
    export_json,
    import_json,
    only,
    person_numbers,
    read_parquet,
    truth_as_predictions,
    write_parquet,
)
from harness.skeletons import COCO17, POSETRACK15, POSETRACK17

EARS = [POSETRACK17.index("left_ear"), POSETRACK17.index("right_ear")]


def sequence(name, frames=3, people=()):
    """A sequence whose truth has one person for each (frame, track id)."""
    count = len(people)
    rng = np.random.default_rng(count)
    truth = Truth(
        frame=np.array([frame for frame, _ in people], dtype=np.int64),
        joints=rng.uniform(1, 90, (count, 17, 2)),
        annotated=rng.random((count, 17)) < 0.7,
        boxes=rng.uniform(0, 90, (count, 4)),
        head_boxes=np.zeros((count, 4)),
        track_ids=np.array([track for _, track in people], dtype=np.int64),
        person_ids=np.full(count, NO_TRACK),
        has_points=np.ones(count, dtype=bool),
    )
    images = tuple(Frame(f"images/val/{name}/{at:06d}.jpg", at, 10 * at) for at in range(frames))
    return Sequence(name, images, truth)


SEQUENCES = (sequence("000001_mpii_test", 4), sequence("000002_mpii_test", 2), sequence("000003_mpii_test", 3))


def predictions(frames=((0, 1), (0, 1), (0, 3), (2, 0), (2, 2)), **changes):
    """People at the given (sequence, frame): random but for their track ids 0, 1 ... ; the second sequence has none."""
    rng = np.random.default_rng(7)
    count = len(frames)
    sequences, positions = (np.array(column, dtype=np.int64) for column in zip(*frames, strict=True))
    present = rng.random((count, 17)) < 0.8
    columns = {
        "sequence_names": tuple(item.name for item in SEQUENCES),
        "sequence": sequences,
        "frame": positions,
        "person": person_numbers(sequences, positions),
        "track_ids": np.arange(count),
        "boxes": rng.uniform(-20, 700, (count, 4)),
        "box_scores": rng.random(count),
        "joints": np.where(present[:, :, None], rng.uniform(-5, 700, (count, 17, 2)), 0),
        "scores": np.where(present, rng.random((count, 17)), np.nan),
        "present": present,
    }
    return Predictions(**columns | changes)


def test_equality_sees_every_column_and_takes_nan_for_equal():
    ours = predictions()
    assert ours == predictions() and ours != "predictions"
    assert ours == replace(ours, whole_numbers=np.ones(5, dtype=bool))
    for item in fields(ours):
        value = getattr(ours, item.name)
        if isinstance(value, np.ndarray):
            other = value.copy()
            other[-1] = ~other[-1] if other.dtype == bool else other[-1] + 1
            assert ours != replace(ours, **{item.name: other}), item.name


def test_shapes_are_checked():
    with pytest.raises(DataError, match=r"scores has shape \(5, 16\), expected \(5, 17\)"):
        predictions(scores=np.zeros((5, 16)))


def test_parquet_gives_back_everything_with_the_same_bytes(tmp_path):
    ours = predictions(track_ids=np.array([3, NO_TRACK, -1, 0, 2**40]), boxes=np.full((5, 4), np.nan))
    digest = write_parquet(ours, tmp_path / "new" / "a.parquet")
    assert read_parquet(tmp_path / "new" / "a.parquet") == ours
    assert digest == hashlib.sha256((tmp_path / "new" / "a.parquet").read_bytes()).hexdigest()
    assert digest == write_parquet(read_parquet(tmp_path / "new" / "a.parquet"), tmp_path / "b.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.parquet", "new"]


def test_parquet_of_nobody_keeps_the_sequences(tmp_path):
    nobody = concatenate([predictions()])
    nobody = Predictions(
        nobody.sequence_names,
        *(getattr(nobody, item.name)[:0] for item in fields(nobody)[1:-2]),
        whole_numbers=np.zeros(0, dtype=bool),
    )
    write_parquet(nobody, tmp_path / "a.parquet")
    found = read_parquet(tmp_path / "a.parquet")
    assert found == nobody and len(found) == 0 and found.whole_numbers.tolist() == []


def test_parquet_is_readable_by_others(tmp_path):
    import pyarrow.parquet as pq

    write_parquet(predictions(track_ids=np.array([NO_TRACK, 1, 2, 3, 4])), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert table["sequence"][-1] == "000003_mpii_test" and table["track_id"][0] is None
    assert len(table["joints"][0]) == 34


def changed_table(path, **columns):
    """The file of `predictions()` with other columns (values, Arrow type), written to `path`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_parquet(predictions(), path)
    table = pq.read_table(path)
    for name, (values, kind) in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values, type=kind))
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("name", ["joints", "scores", "box", "present", "box_score", "track_id", "frame", "sequence"])
@pytest.mark.parametrize("value", ["text", b"bytes", ["text"], [[0.5]], {"x": 1}, None])
def test_parquet_columns_of_another_kind_are_named(tmp_path, name, value):
    path = changed_table(tmp_path / "a.parquet", **{name: ([value] * 5, None)})
    if (name, value) == ("sequence", "text"):  # the right kind, and no sequence of the header
        match = "the columns are not those of predictions"
    else:
        match = rf"column {name} holds [a-z]+.*, expected .*; write the file again$"
    with pytest.raises(DataError, match=rf"^{path}: {match}"):
        read_parquet(path)


def test_parquet_numbers_that_do_not_fit_and_gaps_are_named(tmp_path):
    import pyarrow as pa

    path = tmp_path / "a.parquet"
    for columns, match in (
        ({"track_id": ([2**63 + 5] * 5, pa.uint64())}, "columns are not those of predictions.*9223372036854775813"),
        ({"frame": ([0, 0, None, 0, 2], pa.int64())}, "frame is absent in 1 places"),
        ({"sequence": (["000001_mpii_test"] * 4 + [None], pa.string())}, "sequence is absent in 1 places"),
        ({"box": ([[0.0] * 4] * 4 + [None], pa.list_(pa.float64()))}, "box is absent in 1 places"),
        ({"box": ([[0.0] * 5, [0.0] * 3] + [[0.0] * 4] * 3, pa.list_(pa.float64()))}, "box has lists of 3, 4, 5, exp"),
        ({"present": ([[True] * 16 + [None]] * 5, pa.list_(pa.bool_(), 17))}, "present is absent in 5 places"),
    ):
        changed_table(path, **columns)
        with pytest.raises(DataError, match=rf"^{path}: .*{match}.*; write the file again$"):
            read_parquet(path)


def test_parquet_columns_as_other_programs_write_them_are_read(tmp_path):
    import pyarrow as pa

    ours = predictions(boxes=np.ones((5, 4)), box_scores=np.full(5, 0.5), track_ids=np.array([NO_TRACK, 1, 2, 3, 4]))
    found = read_parquet(changed_table(
        tmp_path / "a.parquet",
        frame=(ours.frame, pa.int32()), track_id=([None, 1, 2, 3, 4], pa.uint64()),
        box=([[1.0] * 4] * 5, pa.list_(pa.float32())), box_score=([0.5] * 5, pa.float32()),
        sequence=([ours.sequence_names[each] for each in ours.sequence], pa.large_string()),
        joints=(ours.joints.reshape(5, 34).tolist(), pa.large_list(pa.float64())),
    ))  # fmt: skip
    assert found == ours and found.boxes.dtype == found.box_scores.dtype == np.float64


def test_parquet_of_equal_rows_beyond_measure_is_refused_unread(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from harness.predictions import parquet

    path = changed_table(tmp_path / "a.parquet")
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table.slice(0, 1)] * 3000).combine_chunks(), path)
    monkeypatch.setattr(parquet, "_SMALL", 2**20)
    with pytest.raises(DataError, match=rf"^{path}: unpacks from [\d,]+ to about [\d,]+ bytes \(3,000 rows\)"):
        read_parquet(path)
    monkeypatch.setattr(parquet, "LARGEST", 1000)
    with pytest.raises(DataError, match=rf"^{path}: not a readable Parquet file \(it has more than 1,000 bytes\)"):
        read_parquet(path)


def test_unusable_parquet_is_named(tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match="no such file"):
        read_parquet(path)
    write_parquet(predictions(), path)
    table = pq.read_table(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"a.parquet: not a readable Parquet file"):
        read_parquet(path)
    pq.write_table(table.drop_columns(["joints"]), path)
    with pytest.raises(DataError, match="column joints is missing"):
        read_parquet(path)
    pq.write_table(table.take([4, 3, 2, 1, 0]), path)
    with pytest.raises(DataError, match="not ordered by sequence"):
        read_parquet(path)
    pq.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(DataError, match="names no sequences"):
        read_parquet(path)
    (key,) = (key for key in table.schema.metadata if key.startswith(b"harness"))
    facts = json.loads(table.schema.metadata[key])
    for header, message in (
        (b"{", "its header is damaged"),
        (b"[]", "its header is not an object"),
        (json.dumps(facts | {"format": 2}), "format 2 with skeleton posetrack17 is not known here"),
        (json.dumps(facts | {"skeleton": "horse"}), "format 1 with skeleton horse is not known here"),
    ):
        pq.write_table(table.replace_schema_metadata({key: header}), path)
        with pytest.raises(DataError, match=rf"a.parquet: {message}"):
            read_parquet(path)
    pq.write_table(table.set_column(table.column_names.index("person"), "person", [[0, 1, 5, 0, 0]]), path)
    with pytest.raises(DataError, match="people of a frame are not numbered 0, 1, 2"):
        read_parquet(path)


def test_files_that_cannot_be_written_are_named_and_leave_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "a.parquet").mkdir()
    for path in (tmp_path / "file/a.parquet", tmp_path / "a.parquet"):
        with pytest.raises(HarnessError, match=rf"{path.name}: cannot be written"):
            write_parquet(predictions(), path)
    (tmp_path / "out/000001_mpii_test.json").mkdir(parents=True)
    with pytest.raises(HarnessError, match=r"000001_mpii_test.json: cannot be written"):
        export_json(predictions(), SEQUENCES, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000001_mpii_test.json", "a.parquet", "file", "out"]


def test_a_missing_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(HarnessError, match=r"pyarrow cannot be loaded .*constraints.txt"):
        write_parquet(predictions(), tmp_path / "a.parquet")


def parts(ours=None):
    ours = ours or predictions()
    for number, name in enumerate(ours.sequence_names):
        rows = ours.sequence == number
        columns = {
            item.name: getattr(ours, item.name)[rows]
            for item in fields(ours)
            if isinstance(getattr(ours, item.name), np.ndarray)
        }
        yield replace(ours, **columns | {"sequence_names": (name,), "sequence": np.zeros(rows.sum(), dtype=np.int64)})


def test_concatenation_of_single_sequences():
    assert concatenate(list(parts())) == predictions()
    first, *_ = parts()
    with pytest.raises(DataError, match="sequence 000001_mpii_test are there twice"):
        concatenate([first, first])
    with pytest.raises(DataError, match="no predictions"):
        concatenate([])
    other = replace(first, sequence_names=("x",), skeleton=COCO17)
    with pytest.raises(DataError, match="different skeletons cannot be put together: coco17, posetrack17"):
        concatenate([first, other])


def test_parts_of_predictions():
    """People 1, 2 and 4 of (sequence, frame) (0, 1), (0, 1), (0, 3), (2, 0), (2, 2): numbered anew in their frames."""
    ours = predictions(whole_numbers=np.array([True, False, True, False, True]))
    assert by_sequence(ours) == list(parts(ours))
    assert concatenate(by_sequence(ours)) == ours
    kept = only(ours, np.array([1, 2, 4]))
    assert kept.frame.tolist() == [1, 3, 2] and kept.sequence.tolist() == [0, 0, 2]
    assert kept.person.tolist() == [0, 0, 0] and kept.track_ids.tolist() == [1, 2, 4]
    assert kept.whole_numbers.tolist() == [False, True, True]
    for name in ("joints", "scores", "present", "boxes", "box_scores"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(ours, name)[[1, 2, 4]])
    assert only(predictions(), np.array([3])).whole_numbers is None


@pytest.mark.parametrize("layout", ["posetrack18", "posetrack21"])
def test_export_and_import_give_back_the_same(tmp_path, layout):
    ours = predictions()
    paths = export_json(ours, SEQUENCES, tmp_path, layout=layout)
    assert [path.name for path in paths] == [f"{item.name}.json" for item in SEQUENCES]
    found = import_json(tmp_path, SEQUENCES)
    assert np.allclose(found.boxes, ours.boxes, rtol=0, atol=1e-9) and replace(found, boxes=ours.boxes) == ours
    empty = json.loads(paths[1].read_text())
    assert len(empty["images"]) == 2 and empty["annotations"] == []


def test_export_as_annolist_gives_back_what_it_can_hold(tmp_path):
    ours = predictions()
    export_json(ours, SEQUENCES, tmp_path, layout="posetrack17")
    found = import_json(tmp_path, SEQUENCES)
    kept = ours.present.copy()
    kept[:, EARS] = False
    assert found == replace(
        ours,
        boxes=np.full((5, 4), np.nan),
        present=kept,
        joints=np.where(kept[:, :, None], ours.joints, 0),
        scores=np.where(kept, ours.scores, np.nan),
    )
    assert POSETRACK15.names[13] == "nose"
    frames = json.loads((tmp_path / "000001_mpii_test.json").read_text())["annolist"]
    assert [len(frame["annorect"]) for frame in frames] == [0, 2, 0, 1]
    assert frames[1]["imgnum"] == [1] and frames[1]["image"][0]["name"] == SEQUENCES[0].frames[1].image


def test_export_at_the_corner_stays_present(tmp_path):
    ours = predictions(present=np.ones((5, 17), dtype=bool), joints=np.zeros((5, 17, 2)), scores=np.zeros((5, 17)))
    export_json(ours, SEQUENCES, tmp_path)
    assert replace(import_json(tmp_path, SEQUENCES), boxes=ours.boxes) == ours


def test_unscored_joints(tmp_path):
    present = np.ones((5, 17), dtype=bool)
    scores = np.full((5, 17), np.nan)
    scores[0, 0] = 0.5
    ours = predictions(present=present, scores=scores)
    export_json(ours, SEQUENCES, tmp_path)
    found = import_json(tmp_path, SEQUENCES).scores
    assert found[0, :3].tolist() == [0.5, -9999, -9999] and np.isnan(found[1:]).all()
    export_json(ours, SEQUENCES, tmp_path, layout="posetrack17")
    assert np.array_equal(import_json(tmp_path, SEQUENCES).scores, scores, equal_nan=True)


@pytest.mark.parametrize("layout", ["posetrack17", "posetrack18"])
def test_people_without_a_score_have_none_in_the_file(tmp_path, layout):
    scores = predictions().box_scores
    scores[[0, 3]] = np.nan
    export_json(predictions(box_scores=scores), SEQUENCES, tmp_path, layout=layout)
    assert '"score":null' not in (tmp_path / "000001_mpii_test.json").read_text()
    np.testing.assert_array_equal(import_json(tmp_path, SEQUENCES).box_scores, scores)


def test_export_gives_missing_track_ids_and_refuses_equal_ones(tmp_path):
    export_json(predictions(track_ids=np.array([NO_TRACK, 0, NO_TRACK, 5, 5])), SEQUENCES, tmp_path)
    assert import_json(tmp_path, SEQUENCES).track_ids.tolist() == [1, 0, 0, 5, 5]
    with pytest.raises(DataError, match="000001_mpii_test, frame 1: two people have the track id 3"):
        export_json(predictions(track_ids=np.full(5, 3)), SEQUENCES, tmp_path)


def test_what_cannot_be_exported_is_named(tmp_path):
    with pytest.raises(UsageError, match="unknown layout 'coco'; choose from posetrack17"):
        export_json(predictions(), SEQUENCES, tmp_path, layout="coco")
    with pytest.raises(DataError, match="not exported: 000003_mpii_test"):
        export_json(predictions(), SEQUENCES[:2], tmp_path)
    with pytest.raises(DataError, match="frame 3 of 000001_mpii_test, which has 2"):
        export_json(predictions(), (sequence("000001_mpii_test", 2), *SEQUENCES[1:]), tmp_path)
    joints = predictions().joints.copy()
    joints[2, :] = np.nan
    with pytest.raises(DataError, match=r"000001_mpii_test, frame 3, person 0: \w+ is not finite"):
        export_json(predictions(joints=joints), SEQUENCES, tmp_path)


def test_truth_as_predictions_is_the_truth(tmp_path):
    truth = sequence("000001_mpii_test", 3, [(0, 4), (0, 5), (2, 4)])
    truth = replace(truth, truth=replace(truth.truth, has_points=np.array([True, False, True])))
    found = truth_as_predictions(DataSet("posetrack18", "val", tmp_path, (truth,), "sha256:0"))
    assert found.frame.tolist() == [0, 2] and found.track_ids.tolist() == [4, 4]
    assert np.array_equal(found.present, truth.truth.annotated[[0, 2]])
    assert np.array_equal(found.joints[found.present], truth.truth.joints[[0, 2]][found.present])
    assert (found.scores[found.present] == 1).all() and np.isnan(found.scores[~found.present]).all()
    export_json(found, (truth,), tmp_path)
    assert replace(import_json(tmp_path, (truth,)), boxes=found.boxes) == found


def test_an_export_is_a_file_poseval_reads(tmp_path):
    """The keys poseval asks for; and the truth reader takes the file as well."""
    (path, *_) = export_json(predictions(), SEQUENCES, tmp_path, layout="posetrack21")
    document = json.loads(path.read_text())
    assert document["categories"][0]["name"] == "person" and len(document["categories"]) == 1
    assert {"image_id", "track_id", "keypoints", "scores", "bbox", "person_id"} <= set(document["annotations"][0])
    assert len(read_sequence(path).truth) == 3
