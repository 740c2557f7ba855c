"""What the tiny presets cost on one core: clips per second of the network alone and through the engine.

    python benchmarks/methods.py [name ...] [--sequences 1] [--rounds 2]

Everything is counted in processor seconds of this process, with one thread, so that a busy neighbour hardly matters;
on an idle core they are what a user waits for. Networks take turns, and the best round of each counts. "alone" is the
network on a batch that lies ready, "engine" the whole run: reading, cropping, network, decoding. The column beside each
is its speed as a share of tiny HRNet's in the same run. A recurrent preset has no "alone": it is run along tracks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from harness.boxes import Boxes, boxes_from_truth, whole_frames
from harness.datasets import DataSet, open_dataset
from harness.inference import RANDOM, Loaded, Settings, load_method, predict
from harness.inference.loaded import forward
from harness.methods import WholeFramePreset, methods

CPU = torch.device("cpu")
BATCH = 32
#: What everything is compared with.
REFERENCE = ("hrnet", "tiny")
#: Presets that cost something else than `tiny` does.
MORE = [("dcpose_adaptive", "tiny-recurrent")]


@dataclass
class Contender:
    """A preset that is timed: how many clips `alone` and `engine` answer for, and the fewest seconds they took."""

    name: str
    preset: str
    method: Loaded
    boxes: Boxes
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether its network can be run on clips by themselves."""
        return not (self.method.preset.recurrent or isinstance(self.method.preset, WholeFramePreset))


def contenders(names: list[str], data: DataSet) -> list[Contender]:
    """The tiny preset of every method with a network, tiny HRNet first."""
    known = [(name, "tiny") for name in methods if "tiny" in methods[name].presets]
    chosen = [case for case in known + MORE if not names or case[0] in names]
    found = []
    for name, preset in [REFERENCE, *(case for case in chosen if case != REFERENCE)]:
        content = methods[name].presets[preset]
        if not content.support:
            continue
        whole = isinstance(content, WholeFramePreset)
        weights = content.weights if name != "dcpose_adaptive" else methods[name].presets["tiny"].weights
        method = load_method(name, preset=preset, weights=weights or RANDOM).method
        found.append(Contender(name, preset, method, whole_frames(data) if whole else boxes_from_truth(data)))
    return found


def best(contender: Contender, what: str, work: Callable[[], object]) -> None:
    begun = time.process_time()
    work()
    taken = time.process_time() - begun
    contender.seconds[what] = min(contender.seconds.get(what, float("inf")), taken)


def run(contender: Contender, data: DataSet) -> None:
    """One round of a contender."""
    method = contender.method
    if contender.works:
        width, height = method.preset.crop.size
        clips = torch.randn(BATCH, len(method.preset.support), height, width, 3).permute(0, 1, 4, 2, 3)
        best(contender, "alone", lambda: forward(method, clips, device=CPU))
    best(contender, "engine", lambda: predict(method, data, contender.boxes, settings=Settings(fold=False)))


def rate(contender: Contender, what: str) -> float:
    count = BATCH if what == "alone" else len(contender.boxes)
    return count / contender.seconds[what]


def report(found: list[Contender]) -> None:
    """A Markdown table."""
    print("| method | frames | alone, clips/s | of hrnet | engine, clips/s | of hrnet |")
    print("|---|---:|---:|---:|---:|---:|")
    for contender in found:
        cells = []
        for what in ("alone", "engine"):
            if what in contender.seconds:
                cells += [f"{rate(contender, what):.1f}", f"{rate(contender, what) / rate(found[0], what):.2f}"]
            else:
                cells += ["", ""]
        name = contender.name if contender.preset == "tiny" else f"{contender.name} {contender.preset}"
        print(f"| {name} | {len(contender.method.preset.support)} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="methods; all by default")
    parser.add_argument("--sequences", type=int, default=1, help="of synthtrack val, for the engine")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = open_dataset("synthtrack", "val")
    data = replace(data, sequences=data.sequences[: options.sequences])
    found = contenders(options.names, data)
    for _ in range(options.rounds):
        for contender in found:
            run(contender, data)
    report(found)


if __name__ == "__main__":
    main()
