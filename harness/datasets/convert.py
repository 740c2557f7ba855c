"""Labels of one PoseTrack as labels of another: 17 <-> 18 <-> 21, and back to what they were.

What the layouts share is translated: frame numbers from 1 or 0, head boxes by corners or by size, regions, the rule for
joints that are not annotated, visibility, scores, ids. What the target has no place for stays in its files: fields
under their own names, values that the target's form would change in `original`; the way back puts them in place again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from harness.datasets.check import recognised
from harness.datasets.json_files import read_json, sequence_name
from harness.datasets.label_files import PLACES, LabelFiles, find_label_files
from harness.datasets.layouts import parse
from harness.datasets.registry import datasets
from harness.datasets.sequences import DataSet, Sequence
from harness.datasets.translation import ImageIds, Source, foreign, put_back, records_of, video_of
from harness.datasets.writing import annolist_document, images_document
from harness.errors import DataError, HarnessError, UsageError, listed
from harness.files import write_json

__all__ = ["TARGETS", "Conversion", "convert_data"]

Record = dict[str, Any]

#: Data sets that can be written, with the folder of a split's label files.
TARGETS = {
    "posetrack17": "annotations/{split}",
    "posetrack18": "annotations/{split}",
    "posetrack21": "posetrack_data/{split}",
}


@dataclass
class Conversion:
    """What was written: `counts` of sequences, frames, people and links; `kept` is what -> (how, number of records)."""

    root: Path
    source: str
    target: str
    counts: Counter[str] = field(default_factory=Counter)
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def rows(self) -> list[dict[str, object]]:
        """What has no place in the target's layout, one row per field."""
        return [{"what": what, "records": count, "how": how} for (what, how), count in sorted(self.kept.items())]


def convert_data(
    root: Path,
    output: Path,
    *,
    to: str,
    name: str | None = None,
    splits: tuple[str, ...] | None = None,
    images: Literal["link", "none"] = "link",
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write the labels in `root` as those of data set `to` into `output`, one file per video.

    `name` is the registered data set in `root`, recognised from its files where not given; `splits` are all that have
    labels. Images get the names of the target: with "link" relative links lead from there to the files in `root`, with
    "none" they are left where they are. Raises UsageError for an unknown target and for a folder with other labels,
    DataError for labels that cannot be read.
    """
    if to not in TARGETS:
        raise UsageError(f"cannot convert to '{to}'; choose from {', '.join(TARGETS)}")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the labels")
    if output.resolve() == root.resolve():
        raise UsageError(f"{output}: is the data set itself; choose another folder")
    name = name or recognised(root)
    found = _splits(name, root, splits)
    for split in found:
        if split not in datasets[to].splits:
            raise UsageError(f"{to} has no split '{split}'; choose others of this data set with --split")
    opened = {split: datasets[name].read(root, split) for split in found}
    for split, dataset in opened.items():
        _refuse_others(output / TARGETS[to].format(split=split), dataset)
    result, ids = Conversion(output, name, to), ImageIds()
    total = sum(map(len, opened.values()))
    for split, dataset in opened.items():
        for sequence, document in _documents(found[split], dataset):
            columns = parse(document, sequence.source, predictions=True)
            source = Source(name, split, sequence, document, columns)
            _convert(source, dataset, result, ids, link=images == "link")
            if progress is not None:
                progress(result.counts["sequences"], total)
    if ids.made_up:
        result.kept["image id", "the video's name allows none; counted from 9 000001 0000"] = ids.made_up
    return result


def _splits(name: str, root: Path, splits: tuple[str, ...] | None) -> dict[str, LabelFiles]:
    layout = name if name in PLACES else "posetrack21"
    found: dict[str, LabelFiles] = {}
    for split in splits or datasets[name].splits:
        try:
            found[split] = find_label_files(layout, root, split)
        except DataError:
            if splits:
                raise
    if not found:
        raise DataError(f"{root}: no labels of {name} for any of {', '.join(datasets[name].splits)}")
    return found


def _refuse_others(folder: Path, dataset: DataSet) -> None:
    own = {f"{sequence.name}.json" for sequence in dataset.sequences}
    others = sorted({path.name for path in folder.glob("*.json*")} - own)
    if others:
        raise UsageError(f"{folder}: holds other label files ({listed(others)}); choose an empty folder")


def _documents(labels: LabelFiles, dataset: DataSet) -> Iterator[tuple[Sequence, Record]]:
    """Every sequence with the content of its file, or with its part of the merged one."""
    named = {sequence.name: sequence for sequence in dataset.sequences}
    if labels.merged is None:
        for path in labels.files:
            yield named[sequence_name(path)], read_json(path)
        return
    whole = read_json(labels.merged)
    video_of_image = {image["id"]: PurePosixPath(image["file_name"]).parent.name for image in whole["images"]}
    parts: dict[str, Record] = {name: {"images": [], "annotations": []} for name in named}
    for image in whole["images"]:
        parts[video_of_image[image["id"]]]["images"].append(image)
    for person in whole["annotations"]:
        parts[video_of_image[person["image_id"]]]["annotations"].append(person)
    for name, part in parts.items():
        yield named[name], part | {"categories": whole["categories"]}


def _convert(source: Source, dataset: DataSet, result: Conversion, ids: ImageIds, *, link: bool) -> None:
    sequence, target = source.sequence, result.target
    video = video_of(source, target, ids)
    document = annolist_document(video) if target == "posetrack17" else images_document(video)
    frames, people = records_of(document, sequence.source)
    for level, records in enumerate((frames, people)):
        for record in records:
            put_back(record, target, level)
            for name in foreign(record, target, level) - {"original"}:
                result.kept[name, "kept as a field of this name"] += 1
            for name in set(record.get("original", ())) - {"of", "original"}:
                result.kept[name, f"cannot be told from the {target} form; kept in the field 'original'"] += 1
    names = [frame["image"][0]["name"] if "image" in frame else frame["file_name"] for frame in frames]
    if len(set(names)) < len(names):
        raise DataError(f"{sequence.source}: two frames have one number in their image names; rename the images")
    write_json(document, result.root / TARGETS[target].format(split=source.split) / f"{sequence.name}.json")
    result.counts.update(sequences=1, frames=len(frames), people=len(people))
    if link:
        _link(dataset, sequence, result, names)


def _link(dataset: DataSet, sequence: Sequence, result: Conversion, names: list[str]) -> None:
    """A relative link under each name to the image in the data set; images that are not there are counted."""
    for frame, name in zip(sequence.frames, names, strict=True):
        image, place = dataset.image_path(frame).absolute(), (result.root / name).absolute()
        if not image.is_file():
            result.kept["image", "not in the data set; no link"] += 1
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(os.path.relpath(image, place.parent))
        except OSError as error:
            raise HarnessError(f"{place}: cannot be linked ({error.strerror}); use --images none") from None
        result.counts["links"] += 1
