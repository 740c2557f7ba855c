"""harness predict as a library call: what one process writes, several ranks write together."""

import threading
from dataclasses import replace

from torch.distributed import HashStore

from harness.inference import Ranks
from harness.inference.shards import Shards
from harness.predictions import read_parquet
from harness.request import Request
from harness.running import predict_into


def test_ranks_share_the_sequences_and_the_first_writes(smoke_val, tmp_path, monkeypatch) -> None:
    request = Request(method="mean_pose", dataset="synthtrack-smoke", split="train")
    alone, opened = predict_into(request, tmp_path / "alone", layout="posetrack21")
    store, answers, kept, save, shared = HashStore(), {}, [], Shards.save, Ranks.shared
    both = threading.Barrier(2, timeout=300)

    def saved(shards: Shards, number: int, predictions) -> None:
        kept.append((threading.current_thread().name, number))
        save(shards, number, predictions)

    def begun(ranks: Ranks, groups: list[list[int]]):
        numbers = shared(ranks, groups)
        first = next(numbers)
        both.wait()  # a rank reads ahead, so that a quick one takes everything before the other has begun
        yield first
        yield from numbers

    def work(rank: int) -> None:
        answers[rank] = predict_into(request, tmp_path / "ranks", layout="posetrack21", ranks=Ranks(rank, 2, 1, store))

    monkeypatch.setattr(Shards, "save", saved)
    monkeypatch.setattr(Ranks, "shared", begun)
    threads = [threading.Thread(target=work, args=(rank,), name=str(rank)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert answers[1] is None and answers[0][0] == alone
    assert {name for name, _ in kept} == {"0", "1"}
    assert sorted(number for _, number in kept) == list(range(len(opened.dataset)))
    assert read_parquet(tmp_path / "ranks" / "predictions.parquet") == alone
    names = [sorted(path.name for path in (tmp_path / name).rglob("*")) for name in ("alone", "ranks")]
    assert names[0] == names[1] and "unfinished" not in names[0]


def test_json_files_of_an_earlier_prediction_are_removed(smoke_val, tmp_path) -> None:
    """Those where this verb writes them, and only once it has written there."""
    request = Request(method="mean_pose", dataset="synthtrack-smoke")
    folder = tmp_path / "posetrack18"
    (folder / "deeper").mkdir(parents=True)
    kept = [tmp_path / "boxes.json", folder / "notes.txt", folder / "deeper" / "x.json", folder / "labels.json"]
    for path in kept:
        path.write_text("{}")
    predict_into(request, tmp_path, layout="posetrack18")
    assert all(path.is_file() for path in kept) and len(list(folder.glob("*.json"))) == 3
    _, opened = predict_into(replace(request, limit=1), tmp_path, layout="posetrack18")
    assert [path.stem for path in folder.glob("*.json")] == [opened.dataset.sequences[0].name]
    assert all(path.is_file() for path in kept[:-1])
