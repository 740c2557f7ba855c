"""Grouping of 30 people, by the field's loop and by ours: same persons, how much sooner.

python benchmarks/grouping.py [--people 30] [--side 256] [--rounds 3]
"""

from __future__ import annotations

import argparse
from time import process_time

import numpy as np
import torch

from harness.grouping import AssociativeEmbedding


def scene(people: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Heatmaps (1,17,h,w) and two tags a pixel of people with scattered joints, a tenth of which are not seen."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    maps = draw.random((17, side, side), dtype=np.float32) * 0.02
    tags = draw.random((17, side, side, 2), dtype=np.float32) * 0.2
    for person in range(people):
        centre = draw.uniform(20, side - 20, 2)
        for joint in range(17):
            place = np.clip(centre + draw.normal(0, 12, 2), 2, side - 3)
            if draw.random() > 0.1:
                blob = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 8)
                maps[joint] = np.maximum(maps[joint], blob * draw.uniform(0.4, 0.9))
                tags[joint][blob > 0.1] = person * 0.7 + draw.normal(0, 0.1, 2)
    # one map of tags after the other in memory, as the engine has them
    return torch.from_numpy(maps)[None], torch.from_numpy(tags).movedim(-1, 1).contiguous().movedim(1, -1)[None]


def plain_assignment(cost: list[list[float]]) -> list[tuple[int, int]]:
    """The classic six steps over lists, one cell at a time, as the package does it that the field calls."""
    rows, columns = len(cost), len(cost[0])
    size = max(rows, columns)
    cells = [[*row, *[0.0] * (size - columns)] for row in cost] + [[0.0] * size for _ in range(size - rows)]
    cells = [[value - min(row) for value in row] for row in cells]
    marks = [[0] * size for _ in range(size)]
    row_cover, column_cover = [False] * size, [False] * size
    for row in range(size):
        for column in range(size):
            if cells[row][column] == 0 and not column_cover[column]:
                marks[row][column], column_cover[column] = 1, True
                break
    while True:
        row_cover = [False] * size
        column_cover = [any(marks[row][column] == 1 for row in range(size)) for column in range(size)]
        if all(column_cover):
            break
        _one_more_star(cells, marks, row_cover, column_cover)
    stars = [(row, column) for row in range(rows) for column in range(columns) if marks[row][column] == 1]
    return sorted(stars)


def _one_more_star(
    cells: list[list[float]], marks: list[list[int]], row_cover: list[bool], column_cover: list[bool]
) -> None:
    size, start = len(cells), (0, 0)
    while True:
        zero = None
        for step in range(size):
            row = (start[0] + step) % size
            for turn in range(size):
                column = (start[1] + turn) % size
                if cells[row][column] == 0 and not row_cover[row] and not column_cover[column]:
                    zero = row, column
            if zero is not None:
                break
        if zero is None:
            uncovered = [
                cells[row][column]
                for row in range(size)
                for column in range(size)
                if not row_cover[row] and not column_cover[column]
            ]
            smallest, start = min(uncovered), (0, 0)
            for row in range(size):
                for column in range(size):
                    cells[row][column] += smallest if row_cover[row] else 0
                    cells[row][column] -= 0 if column_cover[column] else smallest
            continue
        row, column = zero
        marks[row][column] = 2
        if 1 not in marks[row]:
            break
        star = marks[row].index(1)
        row_cover[row], column_cover[star], start = True, False, (row, star)
    path = [zero]
    while True:
        star_row = next((row for row in range(size) if marks[row][path[-1][1]] == 1), None)
        if star_row is None:
            break
        path += [(star_row, path[-1][1]), (star_row, marks[star_row].index(2))]
    for row, column in path:
        marks[row][column] = 0 if marks[row][column] == 1 else 1
    for row in marks:
        row[:] = [0 if mark == 2 else mark for mark in row]


def plain_grouping(maps: torch.Tensor, tags: torch.Tensor, order: tuple[int, ...]) -> np.ndarray:
    """Persons by loops over joints and persons; every joint of everyone is looked for in the whole map."""
    pooled = torch.nn.functional.max_pool2d(maps, 5, stride=1, padding=2)
    peaks = (maps * (pooled == maps))[0].flatten(1)
    values, cells = peaks.topk(30, dim=1)
    heat, tag_maps, width = maps[0].numpy(), np.ascontiguousarray(tags[0].numpy()), maps.shape[3]
    people: dict[float, np.ndarray] = {}
    tags_of: dict[float, list[np.ndarray]] = {}
    for joint in order:
        rows = []
        for value, cell in zip(values[joint].tolist(), cells[joint].tolist(), strict=True):
            if value > np.float32(0.1):
                y, x = divmod(cell, width)
                rows.append(np.array([x, y, value, *tag_maps[joint, y, x]]))
        if not rows:
            continue
        keys, pairs, distance = list(people)[:30], [], np.zeros((0, 0))
        if keys:
            groups = np.array([np.mean(tags_of[key], axis=0) for key in keys])
            distance = np.array([[np.linalg.norm(row[3:] - group) for group in groups] for row in rows])
            cost = [
                [round(float(cell)) * 100 - row[2] for cell in line] for row, line in zip(rows, distance, strict=True)
            ]
            cost = [[*line, *[1e10] * max(0, len(rows) - len(keys))] for line in cost]
            pairs = plain_assignment(cost)
        for row, column in pairs or [(row, len(keys)) for row in range(len(rows))]:
            if column < len(keys) and distance[row, column] < 1.0:
                key = keys[column]
            else:
                key = float(rows[row][3])
                people.setdefault(key, np.zeros((17, 5), dtype=np.float32))
                tags_of[key] = []
            people[key][joint] = rows[row]
            tags_of[key].append(rows[row][3:].astype(np.float32))
    poses = np.array(list(people.values()))
    for pose in poses:
        for joint in range(17):
            if pose[joint, 2] > 0:
                pose[joint, :2] = _moved(heat[joint], int(pose[joint, 0]), int(pose[joint, 1]))
        _completed(pose, heat, tag_maps)
    return poses


def _moved(heat: np.ndarray, x: int, y: int) -> tuple[float, float]:
    height, width = heat.shape
    right = heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)]
    below = heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x]
    return x + (0.25 if right else -0.25) + 0.5, y + (0.25 if below else -0.25) + 0.5


def _completed(pose: np.ndarray, heat: np.ndarray, tags: np.ndarray) -> None:
    found = [joint for joint in range(17) if pose[joint, 2] > 0]
    own = np.mean([tags[joint, int(pose[joint, 1]), int(pose[joint, 0])] for joint in found], axis=0)
    answers = []
    for joint in range(17):
        distance = ((tags[joint] - own) ** 2).sum(axis=2) ** 0.5
        y, x = np.unravel_index(np.argmax(heat[joint] - np.round(distance)), heat[joint].shape)
        answers.append((*_moved(heat[joint], int(x), int(y)), heat[joint, y, x]))
    for joint, answer in enumerate(answers):
        if pose[joint, 2] == 0 and answer[2] > 0:
            pose[joint, :3] = answer


def main() -> None:
    """Print both times, the ratio, and whether the persons are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    maps, tags = scene(asked.people, asked.side)
    ours = AssociativeEmbedding()
    times: dict[str, list[float]] = {"loop": [], "ours": []}
    for _ in range(asked.rounds):
        started = process_time()
        plain = plain_grouping(maps, tags, ours.order)
        middle = process_time()
        poses, _ = ours.grouped(maps, tags)[0]
        times["loop"].append(middle - started)
        times["ours"].append(process_time() - middle)
    same = plain.shape == poses.shape and bool(np.allclose(plain[:, :, :3], poses[:, :, :3], atol=1e-4))
    loop, quick = (min(times[name]) for name in ("loop", "ours"))
    print(f"{asked.people} people, maps {asked.side} x {asked.side}: {len(poses)} persons, the same: {same}")
    print(f"loop {1e3 * loop:.0f} ms, ours {1e3 * quick:.1f} ms: {loop / quick:.0f} times as fast")


if __name__ == "__main__":
    main()
