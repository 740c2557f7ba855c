"""harness bench: what a method costs, what limits it, and which option is expected to help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import data_options, format_option, results_option
from harness.cli.output import emit_rows, note

if TYPE_CHECKING:
    from harness.inference.bench import Measured

__all__ = ["command"]


@click.command("bench")
@click.option("--method", "names", multiple=True, required=True, help="A name of `harness methods list`; repeatable.")
@click.option("--preset", help="Size of the method; `harness methods show M` lists them.")
@click.option("--weights", help="A weights file or name; random ones where the preset has none.")
@data_options
@click.option("--batch-size", type=click.IntRange(1), help="Clips per batch; by default what suits the device.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16", "fp16"]), default="fp32", show_default=True,
              help="What networks compute in.")  # fmt: skip
@click.option("--crop-path", type=click.Choice(["reference", "device"]), default="reference", show_default=True,
              help="Where crops are made.")  # fmt: skip
@click.option("--fold/--no-fold", default=False, show_default=True, help="Fold batch normalisation into convolutions.")
@click.option("--compile", "compiler", type=click.Choice(["none", "default", "graphs"]), is_flag=False,
              flag_value="default", default="none", show_default=True,
              help="torch.compile, on a GPU also with CUDA graphs.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=4, show_default=True, help="The first N sequences.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Turns; the best counts.")
@results_option
@click.option("--plot/--no-plot", default=True, show_default=True, help="Draw AP of stored runs against cost.")
@format_option("table", "json", "csv", "markdown", "latex")
def command(
    names: tuple[str, ...], preset: str | None, weights: str | None, dataset: str, data_root: Path | None, split: str,
    limit: int, repeat: int, results: Path, plot: bool, style: str, **asked: Any,
) -> None:  # fmt: skip
    """Measure methods: parameters, operations, speed of the network alone and of whole runs, memory, latency.

    \b
    harness bench --method hrnet --method simple_baseline
    harness bench --method hrnet --preset w32-256x192 --device cuda --precision bf16
    """
    from harness.boxes import boxes_from_truth, whole_frames
    from harness.datasets import open_dataset
    from harness.files import write_atomically
    from harness.inference import RANDOM, Settings, load_method
    from harness.inference.bench import measure
    from harness.methods import WholeFramePreset, methods

    data = open_dataset(dataset, split, root=data_root)
    data = replace(data, sequences=data.sequences[:limit])
    measured = []
    for name in names:
        chosen = weights or methods[name].preset(preset)[1].weights or RANDOM
        ready = load_method(name, preset=preset, weights=chosen)
        whole = isinstance(ready.method.preset, WholeFramePreset)
        boxes = whole_frames(data) if whole else boxes_from_truth(data)
        measured.append(measure(ready, data, boxes, settings=Settings(**asked), repeat=repeat))
    if style == "json":
        emit_rows([item.row for item in measured], style)
    else:
        emit_rows([_row(item) for item in measured], style)
    for item in measured:
        stages = ", ".join(f"{stage} {1000 * seconds:.2f}" for stage, seconds in item.stages.items())
        note(f"{item.method}: ms per clip: {stages}; limited by {item.limit}, try {item.advice}")
        path = results / "bench" / f"{item.method}-{item.preset}-{item.device}-{item.precision}.json".replace(" ", "_")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _record(item))
        note(f"record: {path}")
    if plot and (drawn := _draw(measured, results)):
        note(f"plot: {drawn}")


def _row(item: Measured) -> dict[str, str]:
    return {
        "method": f"{item.method} ({item.preset})",
        "parameters, M": f"{item.parameters / 1e6:.2f}",
        "multiply-adds, G": f"{item.multiply_adds / 1e9:.2f}",
        "all, G": f"{item.all_multiply_adds / 1e9:.2f}",
        "network, clips/s": f"{item.forward_only:.1f}",
        "whole run, clips/s": f"{item.end_to_end:.1f}",
        "ratio": f"{item.ratio:.2f}",
        "one clip, ms": f"{1000 * item.latency:.1f}",
        **({"compiling, s": f"{item.compile_seconds:.0f}"} if item.compile_seconds else {}),
        "peak memory, MB": f"{item.peak_memory / 1e6:.0f}",
        "limited by": item.limit,
    }


def _record(item: Measured) -> bytes:
    import orjson

    from harness.environment import describe_environment
    from harness.typed_json import to_plain

    document = {**item.row, "environment": to_plain(describe_environment())}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _draw(measured: list[Measured], results: Path) -> Path | None:
    """Plot AP of the stored runs of the measured methods against speed; None where there are none with a speed."""
    from harness.report import ap_against_speed, save
    from harness.results import Results

    wanted = {(item.method, item.preset) for item in measured}
    runs = [run.record for run in Results(results).scan()[0]]
    records = [run for run in runs if (run.method.name, run.method.preset) in wanted and run.cost.clips_per_second]
    if len({(run.dataset.name, run.dataset.split, run.partial) for run in records}) != 1:
        return None
    rates = {(item.method, item.preset): item.end_to_end for item in measured}
    shown = [
        replace(run, cost=replace(run.cost, clips_per_second=rates[run.method.name, run.method.preset]))
        for run in records
    ]
    return save(ap_against_speed(shown), results / "bench" / "ap_against_speed")[1]
