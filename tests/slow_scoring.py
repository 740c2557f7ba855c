"""Slow, obvious scoring written from the specification: plain loops over plain objects, one person and joint at a time.

The engine is compared with it over generated scenes, and timed against it in benchmarks/scoring.py.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from harness.datasets.sequences import NO_TRACK
from harness.skeletons import POSETRACK15

JOINTS = POSETRACK15.names


@dataclass
class Person:
    joints: dict
    track: int
    head: float = math.nan
    scores: dict | None = None


@dataclass
class SlowFrame:
    sequence: int
    truth: list
    predicted: list


def inside(x, y, polygon):
    """Whether a point is strictly inside, by counting edges to its right; points on an edge are not inside."""
    crossings = 0
    for (ax, ay), (bx, by) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        if side == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
            return False
        if (ay <= y < by and side > 0) or (by <= y < ay and side < 0):
            crossings += 1
    return crossings % 2 == 1


def poseval_frames(sequences, predictions):
    """The frames poseval evaluates, cleaned by its rules in their order."""
    frames = []
    for number, sequence in enumerate(sequences):
        for position in range(len(sequence.frames)):
            truth = truth_people(sequence, position)
            if not truth:
                continue
            truth = [person for person, has_points in truth if has_points]
            predicted = predicted_people(predictions, sequence.name, position)
            regions = [polygon.tolist() for polygon in sequence.truth.ignore.get(position, ())]
            if regions:
                for person in truth + predicted:
                    person.joints = {
                        name: point for name, point in person.joints.items()
                        if not any(inside(*point, polygon) for polygon in regions)
                    }  # fmt: skip
                truth = [person for person in truth if person.joints]
                predicted = [person for person in predicted if person.joints]
            frames.append(SlowFrame(number, truth, predicted))
    return frames


def posetrack21_frames(sequences, predictions):
    """The frames the PoseTrack21 kit evaluates: labelled ones, joints right of and below the origin."""
    frames = []
    for number, sequence in enumerate(sequences):
        for position, frame in enumerate(sequence.frames):
            if not frame.labelled:
                continue
            truth = [person for person, _ in truth_people(sequence, position)]
            predicted = predicted_people(predictions, sequence.name, position)
            regions = [polygon.tolist() for polygon in sequence.truth.ignore.get(position, ())]
            sides = []
            for side in (truth, predicted):
                kept = []
                for person in side:
                    person.joints = {
                        name: point for name, point in person.joints.items()
                        if not any(inside(*point, polygon) for polygon in regions)
                    }  # fmt: skip
                    positive = any(x > 0 or y > 0 for x, y in person.joints.values())
                    person.joints = {name: (x, y) for name, (x, y) in person.joints.items() if x > 0 and y > 0}
                    if positive or not regions:
                        kept.append(person)
                sides.append(kept)
            frames.append(SlowFrame(number, *sides))
    return frames


def truth_people(sequence, position):
    found = []
    truth, skeleton = sequence.truth, sequence.skeleton
    for row in np.flatnonzero(truth.frame == position):
        x1, y1, x2, y2 = truth.head_boxes[row].tolist()
        head = 0.6 * math.sqrt((x2 - x1) ** 2 + (y2 - y1) ** 2)
        joints = point_by_name(truth.joints[row], truth.annotated[row], skeleton)
        found.append((Person(joints, int(truth.track_ids[row]), head), bool(truth.has_points[row])))
    return found


def predicted_people(predictions, name, position):
    found = []
    number = predictions.sequence_names.index(name)
    for row in np.flatnonzero((predictions.sequence == number) & (predictions.frame == position)):
        joints = point_by_name(predictions.joints[row], predictions.present[row], predictions.skeleton)
        scores = {joint: float(predictions.scores[row, predictions.skeleton.index(joint)]) for joint in joints}
        scores = {joint: -9999.0 if math.isnan(score) else score for joint, score in scores.items()}
        found.append(Person(joints, int(predictions.track_ids[row]), scores=scores))
    return found


def point_by_name(joints, present, skeleton):
    return {
        name: (float(joints[index][0]), float(joints[index][1]))
        for name in JOINTS
        for index in [skeleton.index(name)]
        if present[index]
    }


def apart(person, truth, joint):
    """Distance in head sizes, infinite where a joint or a head size is missing."""
    if joint not in person.joints or joint not in truth.joints:
        return math.inf
    (x, y), (true_x, true_y) = person.joints[joint], truth.joints[joint]
    dx, dy = x - true_x, y - true_y
    if not math.isfinite(dx) or not math.isfinite(dy) or truth.head == 0:
        return math.inf
    return math.sqrt(dx * dx + dy * dy) / truth.head


def partners(frame):
    """Index of the truth person each prediction is matched to, None for nobody."""
    share = [
        [
            sum(apart(person, truth, joint) <= 0.5 for joint in JOINTS) / len(truth.joints) if truth.joints else 0.0
            for truth in frame.truth
        ]
        for person in frame.predicted
    ]
    wishes = {}
    for row, shares in enumerate(share):
        if shares and max(shares) > 0:
            wishes[row] = shares.index(max(shares))
    found = [None] * len(frame.predicted)
    for truth in range(len(frame.truth)):
        rows = [row for row, wish in wishes.items() if wish == truth]
        if rows:
            found[max(rows, key=lambda row: share[row][truth])] = truth
    return found


def average_precision(frames):
    """(ap, precision, recall), each 16 percentages."""
    events, n_truth = defaultdict(list), defaultdict(int)
    for frame in frames:
        for truth in frame.truth:
            for joint in truth.joints:
                n_truth[joint] += 1
        for person, partner in zip(frame.predicted, partners(frame), strict=True):
            for joint in person.joints:
                hit = partner is not None and apart(person, frame.truth[partner], joint) <= 0.5
                events[joint].append((person.scores[joint], hit))
    columns = [joint_precision(events[joint], n_truth[joint]) for joint in JOINTS]
    found = []
    for column in zip(*columns, strict=True):
        known = [value for value in column if not math.isnan(value)]
        found.append([*column, sum(known) / len(known) if known else math.nan])
    return found


def joint_precision(events, n_truth):
    if not events:
        return 0.0, 0.0, 0.0
    ranked = sorted(events, key=lambda event: event[0])[::-1]
    hits, precision, recall = 0, [], []
    for rank, (_, hit) in enumerate(ranked, start=1):
        hits += hit
        precision.append(hits / rank)
        recall.append(hits / n_truth if n_truth else math.nan)
    if not n_truth:
        return math.nan, precision[-1] * 100, math.nan
    area, before = 0.0, 0.0
    for rank in range(len(ranked)):
        if recall[rank] != before:
            area += (recall[rank] - before) * max(precision[rank:])
            before = recall[rank]
    return area * 100, precision[-1] * 100, recall[-1] * 100


def tracking(frames, sequence_count, *, last_dropped=True, dummies=True):
    """{event: (sequence, joint) -> number} of CLEAR MOT, with full matrices in every frame."""
    counts = {key: np.zeros((sequence_count, len(JOINTS))) for key in EVENTS}
    for sequence in range(sequence_count):
        own = [frame for frame in frames if frame.sequence == sequence]
        if last_dropped:
            own = own[:-1]
        for number, joint in enumerate(JOINTS):
            for key, value in track_joint(own, joint, dummies).items():
                counts[key][sequence, number] = value
    return counts


EVENTS = ("misses", "switches", "false_positives", "objects", "detections", "distance")


def track_joint(frames, joint, dummies):
    counts, memory = dict.fromkeys(EVENTS, 0), {}
    for frame in frames:
        if dummies and not (frame.truth and frame.predicted):
            for key in ("misses", "false_positives", "objects"):
                counts[key] += 1
            continue
        truths = [truth for truth in frame.truth if joint in truth.joints]
        people = [person for person in frame.predicted if joint in person.joints]
        cost = np.array([[apart(person, truth, joint) for person in people] for truth in truths])
        cost = cost.reshape(len(truths), len(people))
        cost[~(cost <= 0.5)] = np.inf
        free_truths, free_people, pairs = list(range(len(truths))), list(range(len(people))), []
        for row in list(free_truths):
            for column in list(free_people):
                if memory.get(truths[row].track) == people[column].track and cost[row, column] < np.inf:
                    pairs.append((row, column))
                    free_truths.remove(row)
                    free_people.remove(column)
                    break
        rest = np.full(cost.shape, np.inf)
        rest[np.ix_(free_truths, free_people)] = cost[np.ix_(free_truths, free_people)]
        finite = rest[rest < np.inf]
        if len(finite):
            bound = 2 * min(rest.shape) * (finite.max() + 1) + 1
            rows, columns = linear_sum_assignment(np.where(rest < np.inf, rest, bound))
            chosen = zip(rows.tolist(), columns.tolist(), strict=True)
            pairs += [place for place in chosen if rest[place] < np.inf]
        for row, column in pairs:
            before = memory.get(truths[row].track)
            counts["switches"] += before is not None and before != people[column].track
            memory[truths[row].track] = people[column].track
            counts["distance"] += cost[row, column]
        counts["detections"] += len(pairs)
        counts["misses"] += len(truths) - len(pairs)
        counts["false_positives"] += len(people) - len(pairs)
        counts["objects"] += len(truths)
    return counts


def hota(frames, sequence_count, joint, alphas):
    """{field: (alpha,)} of the first `sequence_count` sequences for one joint, a frame's own misses counted once."""
    sums = defaultdict(lambda: np.zeros(len(alphas)))
    for sequence in range(sequence_count):
        own = [frame for frame in frames if frame.sequence == sequence]
        matches, seen_truth, seen_found = [], defaultdict(int), defaultdict(int)
        for frame in own:
            for truth in frame.truth:
                seen_truth[truth.track] += joint in truth.joints
            for person in frame.predicted:
                seen_found[person.track] += joint in person.joints
            if frame.truth and frame.predicted:
                similar = [[similarity(person, truth, joint) for person in frame.predicted] for truth in frame.truth]
                rows, columns = linear_sum_assignment(-np.array(similar))
                matches.append([
                    (frame.truth[row].track, frame.predicted[column].track, similar[row][column])
                    for row, column in zip(rows, columns, strict=True)
                ])  # fmt: skip
        for number, alpha in enumerate(alphas):
            kept = [
                (truth, found, value)
                for frame_matches in matches
                for truth, found, value in frame_matches
                if value >= alpha - np.finfo(float).eps
            ]
            together, fragments, last = defaultdict(int), defaultdict(list), {}
            for truth, found, _ in kept:
                together[truth, found] += 1
                if last.get(truth) != found:
                    fragments[truth, found].append(0)
                fragments[truth, found][-1] += 1
                last[truth] = found
            sums["tp"][number] += len(kept)
            sums["fn"][number] += sum(seen_truth.values()) - len(kept)
            sums["fp"][number] += sum(seen_found.values()) - len(kept)
            sums["loca"][number] += sum(value for *_, value in kept)
            for (truth, found), count in together.items():
                either = max(1, seen_truth[truth] + seen_found[found] - count)
                sums["assa"][number] += count * count / either
                sums["fraga"][number] += sum(length * length for length in fragments[truth, found]) / either
    return sums


def similarity(person, truth, joint):
    return max(0.0, (-1 / 0.5001) * apart(person, truth, joint) + 1)


def has_tracks(frames):
    return all(person.track != NO_TRACK for frame in frames for person in frame.truth + frame.predicted)
