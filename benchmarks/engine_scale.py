"""A thousand GPUs over a million sequences, simulated: who is idle, what the store answers, what lies on the disk.

    python benchmarks/engine_scale.py [--gpus 1000] [--sequences 1000000] [--claims 1]

Each GPU takes the next group of sequences from one counter, as `harness.inference.ranks` does; a claim waits for its
turn at the store. A group is what shares a file, as many sequences as `harness.inference.shards` says, and the groups
with most to do come first. Lengths are log-normal around those of PoseTrack; GPUs differ in speed by a tenth.
`--claims` groups are taken at once. What the store can answer and what reading the files takes is measured here, too.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from torch.distributed import TCPStore

from harness.inference.shards import sequences_together
from harness.predictions import Predictions, by_sequence, concatenate, read_parquet, write_parquet
from harness.skeletons import POSETRACK17

#: Clips per second of one GPU with a paper preset and people per labelled frame, for lengths in seconds.
CLIPS_PER_SECOND, CLIPS = 400.0, 180.0


@dataclass(frozen=True)
class Cluster:
    gpus: int
    sequences: int
    claims: int
    seconds_per_claim: float


def lengths(count: int, together: int, seed: int = 0) -> np.ndarray:
    """Seconds of work of every group of sequences, longest first, as they are handed out."""
    clips = np.random.default_rng(seed).lognormal(np.log(CLIPS), 0.6, count)
    groups = np.add.reduceat(clips, np.arange(0, count, together))
    return np.sort(groups / CLIPS_PER_SECOND)[::-1]


def simulate(cluster: Cluster, work: np.ndarray, seed: int = 1) -> tuple[float, float, int]:
    """(seconds to the last pose, longest wait for the store, claims), with a store that serves one claim at a time."""
    speed = np.random.default_rng(seed).normal(1, 0.1, cluster.gpus).clip(0.7, 1.3)
    ready = [(0.0, gpu) for gpu in range(cluster.gpus)]
    store_free, end, longest, claims, taken = 0.0, 0.0, 0.0, 0, 0
    sums = np.concatenate([[0.0], np.cumsum(work)])
    while taken < len(work):
        asked, gpu = heapq.heappop(ready)
        answered = max(asked, store_free) + cluster.seconds_per_claim
        longest, store_free, claims = max(longest, answered - asked), answered, claims + 1
        upto = min(taken + cluster.claims, len(work))
        done = answered + (sums[upto] - sums[taken]) / speed[gpu]
        taken, end = upto, max(end, done)
        heapq.heappush(ready, (done, gpu))
    return end, longest, claims


def store_seconds(count: int = 3000) -> float:
    """Seconds of one claim at a store on this machine, asked by one client."""
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, timeout=timedelta(seconds=20))
    started = time.perf_counter()
    for _ in range(count):
        store.add("next", 1)
    return (time.perf_counter() - started) / count


def shard(clips: int, seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    frames = np.arange(clips) // 4
    return Predictions(
        sequence_names=(f"{seed:06d}",), sequence=np.zeros(clips, dtype=np.int64), frame=frames,
        person=np.arange(clips) % 4, track_ids=np.arange(clips) % 4, boxes=generator.uniform(0, 900, (clips, 4)),
        box_scores=np.ones(clips), joints=generator.uniform(0, 900, (clips, 17, 2)), scores=np.ones((clips, 17)),
        present=np.ones((clips, 17), dtype=bool), skeleton=POSETRACK17,
    )  # fmt: skip


def merge_cost(together: int, count: int = 128) -> tuple[float, float]:
    """(processor seconds, bytes) per sequence of reading files of so many sequences and joining them."""
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.parquet" for number in range(0, count, together)]
        for first, path in zip(range(0, count, together), paths, strict=True):
            write_parquet(concatenate([shard(int(CLIPS), first + place) for place in range(together)]), path)
        size = sum(path.stat().st_size for path in paths)
        started = time.process_time()
        concatenate([part for path in paths for part in by_sequence(read_parquet(path))])
        return (time.process_time() - started) / count, size / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--sequences", type=int, default=1_000_000)
    parser.add_argument("--claims", type=int, nargs="*", default=[1])
    options = parser.parse_args()
    together = sequences_together(options.sequences)
    work = lengths(options.sequences, together)
    claim = store_seconds()
    print(f"store: {1e6 * claim:.0f} us per claim, {1 / claim:,.0f} claims per second")
    perfect = work.sum() / options.gpus
    print(
        f"{options.gpus} GPUs, {options.sequences} sequences, {together} in a file and a claim, {work.mean():.2f} s: "
        f"{perfect:,.0f} s if none idles"
    )
    for claims in options.claims:
        for slower in (1, 10):
            cluster = Cluster(options.gpus, options.sequences, claims, claim * slower)
            end, longest, count = simulate(cluster, work)
            print(
                f"  {claims:3} per claim, store {slower:2} x slower: {end:,.0f} s, {perfect / end:.1%} used, "
                f"{count:,} claims ({count / end:,.0f}/s), longest wait {1000 * longest:.0f} ms"
            )
    total = options.sequences
    for each in sorted({1, together}):
        seconds, size = merge_cost(each)
        print(
            f"merge, {each:2} in a file: {-(-total // each):,} files of {each * size / 1e3:.0f} kB, "
            f"{total * size / 1e9:,.0f} GB; {total * seconds / 60:.0f} min of one processor"
        )


if __name__ == "__main__":
    main()
