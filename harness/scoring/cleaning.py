"""What poseval keeps of the files: labelled frames with people, people with points, joints outside ignore regions.

Source: specification of poseval, sections 2 and 3. One function, in the order of the rules there.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.datasets.sequences import NO_TRACK, Polygon, Sequence
from harness.errors import DataError
from harness.predictions import Predictions
from harness.scoring.ragged import Integers
from harness.scoring.scene import People, Scene, ignored_joints, stack

__all__ = ["check_heads", "check_unique_tracks", "poseval_scene", "regions_by_frame", "with_frames", "with_people"]


def poseval_scene(sequences: Series[Sequence], predictions: Predictions, *, compat: str = "official") -> Scene:
    """The scene poseval evaluates, over all `sequences` in the order given.

    `compat="official"` keeps upstream's refusals and losses: predictions of one frame that share a track id are an
    error, and of a file with several videos only the first counts. "fixed" accepts the former and keeps all frames.
    Raises DataError naming sequence, frame and record.
    """
    scene = stack(sequences, predictions)
    if compat == "official":
        check_unique_tracks(scene, scene.predicted, "predictions", sequences)
    scene = _frames_with_people(scene, sequences, first_video_only=compat == "official")
    has_points = np.concatenate([sequence.truth.has_points for sequence in sequences])
    rows = _global_rows(scene, sequences)
    scene = with_people(scene, has_points[rows], np.ones(len(scene.predicted), dtype=bool))
    scene = _without_ignored(scene, regions_by_frame(scene, sequences))
    check_heads(scene, sequences)
    return scene


def with_frames(scene: Scene, kept: NDArray[np.bool_]) -> Scene:
    """The scene with only the frames where `kept` (F,) is True, numbered anew."""
    if kept.all():
        return scene
    number = np.cumsum(kept) - 1
    truth_kept, predicted_kept = kept[scene.truth.frame], kept[scene.predicted.frame]
    scene = with_people(scene, truth_kept, predicted_kept)
    return replace(
        scene,
        frame_sequence=scene.frame_sequence[kept],
        frame_position=scene.frame_position[kept],
        truth=replace(scene.truth, frame=number[scene.truth.frame]),
        predicted=replace(scene.predicted, frame=number[scene.predicted.frame]),
    )


def regions_by_frame(scene: Scene, sequences: Series[Sequence]) -> dict[int, tuple[Polygon, ...]]:
    """Scene frame -> its ignore regions, only where there are any; raises DataError for one of fewer than 3 points."""
    regions: dict[int, tuple[Polygon, ...]] = {}
    first = np.searchsorted(scene.frame_sequence, np.arange(len(sequences) + 1)).tolist()
    for number, sequence in enumerate(sequences):
        start, stop = first[number], first[number + 1]
        for frame, position in zip(range(start, stop), scene.frame_position[start:stop].tolist(), strict=True):
            polygons = sequence.truth.ignore.get(position)
            if not polygons:
                continue
            if min(map(len, polygons)) < 3:
                raise DataError(
                    f"{sequence.source or sequence.name}: frame {position} ({sequence.frames[position].image}) has an "
                    f"ignore region of fewer than 3 points; correct or remove it"
                )
            regions[frame] = polygons
    return regions


def check_unique_tracks(scene: Scene, people: People, noun: str, sequences: Series[Sequence]) -> None:
    """Raise DataError when two people of one frame share a track id (NO_TRACK counts as none)."""
    tracked = np.flatnonzero(people.track_ids != NO_TRACK)
    order = tracked[np.lexsort((people.track_ids[tracked], people.frame[tracked]))]
    frame, track = people.frame[order], people.track_ids[order]
    twice = np.flatnonzero((frame[1:] == frame[:-1]) & (track[1:] == track[:-1]))
    if len(twice):
        sequence, position = scene.frame_sequence[frame[twice[0]]], scene.frame_position[frame[twice[0]]]
        raise DataError(
            f"sequence {scene.sequence_names[sequence]}, frame {position} "
            f"({sequences[sequence].frames[position].image}): two {noun} share track id {track[twice[0]]}; "
            f"give every person of a frame its own"
        )


def _frames_with_people(scene: Scene, sequences: Series[Sequence], *, first_video_only: bool) -> Scene:
    """Rule 1, and the choice of the first video of a file."""
    kept = np.bincount(scene.truth.frame, minlength=scene.frame_count) > 0
    if first_video_only:
        foreign = ~np.concatenate([_first_video(sequence) for sequence in sequences])
        if foreign.any():
            names = sorted({scene.sequence_names[number] for number in scene.frame_sequence[foreign]})
            text = f"{', '.join(names)}: frames of a second video in the same file are not evaluated (as upstream)"
            scene = replace(scene, warnings=(*scene.warnings, text))
            kept &= ~foreign
    return with_frames(scene, kept)


def _first_video(sequence: Sequence) -> NDArray[np.bool_]:
    """(F,) whether a frame's folder has the number (the text before the first "_") of the first frame's folder."""
    images = [frame.image for frame in sequence.frames]
    folder = images[0].rpartition("/")[0] if images else ""
    length = len(folder)
    if all(image.startswith(folder) and image.rfind("/") == length for image in images):
        return np.ones(len(images), dtype=bool)
    folders = [image.rpartition("/")[0] for image in images]
    video = {folder: folder.rpartition("/")[2].partition("_")[0] for folder in set(folders)}
    return np.array([video[folder] == video[folders[0]] for folder in folders], dtype=bool)


def _global_rows(scene: Scene, sequences: Series[Sequence]) -> Integers:
    starts = np.cumsum([0, *(len(sequence.truth) for sequence in sequences)])[:-1]
    rows: Integers = starts[scene.frame_sequence[scene.truth.frame]] + scene.truth.row
    return rows


def with_people(scene: Scene, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Scene:
    """The scene with only the truth people and predictions that the masks (G,) and (P,) keep."""
    return replace(
        scene,
        truth=scene.truth.only(truth),
        head=scene.head[truth],
        predicted=scene.predicted.only(predicted),
        scores=scene.scores if predicted.all() else scene.scores[predicted],
    )


def _without_ignored(scene: Scene, regions: dict[int, tuple[Polygon, ...]]) -> Scene:
    """Rule 3: joints inside a region go, then, in frames that have regions, people without a joint."""
    if not regions:
        return scene
    has_region = np.zeros(scene.frame_count, dtype=bool)
    has_region[list(regions)] = True
    sides = [side.without(ignored_joints(side, regions, scene.frame_count)) for side in (scene.truth, scene.predicted)]
    kept = [~has_region[side.frame] | side.present.any(axis=1) for side in sides]
    return with_people(replace(scene, truth=sides[0], predicted=sides[1]), *kept)


def check_heads(scene: Scene, sequences: Series[Sequence]) -> None:
    """Raise DataError for a truth person without head box in a frame with predictions."""
    predicted = np.bincount(scene.predicted.frame, minlength=scene.frame_count) > 0
    lacking = np.flatnonzero(np.isnan(scene.head) & predicted[scene.truth.frame])
    if len(lacking):
        frame = scene.truth.frame[lacking[0]]
        sequence, position = sequences[scene.frame_sequence[frame]], scene.frame_position[frame]
        raise DataError(
            f"{sequence.source or sequence.name}: frame {position} ({sequence.frames[position].image}) has a person "
            f"without head box (track id {scene.truth.track_ids[lacking[0]]}; {len(lacking)} in all); PCKh needs "
            f"`bbox_head` for every annotated person, or leave this sequence out"
        )
