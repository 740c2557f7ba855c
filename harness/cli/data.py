"""harness data: make the embedded data set, list what can be read; check, describe and convert a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import orjson

from harness.cli.options import format_option
from harness.cli.output import emit_json, emit_rows, note, progress_bar
from harness.cli.statistics import stats
from harness.datasets import check_split, datasets
from harness.datasets.findings import KINDS, Report
from harness.errors import DataError, UsageError

if TYPE_CHECKING:
    from harness.datasets.check import Images

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Make, list, check, describe and convert data sets."""


command.add_command(stats)


@command.command("list")
@format_option("table", "json", "csv", "markdown")
def list_datasets(style: str) -> None:
    """List every data set that can be read."""
    cards = [datasets[name] for name in datasets]
    emit_rows([{"name": card.name, "splits": " ".join(card.splits), "what": card.title,
                "get it": "made on first use" if card.prepare else card.get_it} for card in cards], style)  # fmt: skip


@command.command("make")
@click.argument("name", default="synthtrack")
@click.option("--preset", help="Its size: smoke, mini, standard (what `synthtrack` means) or large.")
@click.option("--split", "splits", multiple=True, help="A split to make; all of them by default.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of your own, a folder per split, not the cache.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Other clips than everybody's; needs --out."
)
def make(name: str, preset: str | None, splits: tuple[str, ...], out: Path | None, seed: int) -> None:
    """Make an embedded data set now instead of on first use, and print where it lies."""
    name = f"{name}-{preset}" if preset and preset != "standard" else name
    card = datasets[name]
    if card.prepare is None:
        raise UsageError(f"data set '{name}' cannot be made, only downloaded. {card.get_it}")
    if seed and out is None:
        raise UsageError("--seed makes other clips than the shared ones of the cache; say where with --out DIR")
    for split in splits or card.splits:
        check_split(name, split)
        own = {"root": out / split, "seed": seed} if out is not None else {}
        with progress_bar(f"{name} {split}") as report:
            click.echo(f"{split}: {card.prepare(split, progress=report, **own)}")


@command.command("check")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--dataset", help="A name of `harness data list`; recognised from the files if not given.")
@click.option("--split", "splits", multiple=True, help="A split to look at; every one that is there by default.")
@click.option("--images", type=click.Choice(["decode", "names", "none"]), default="decode", show_default=True,
              help="Decode every image, see whether it is there, or leave images out.")  # fmt: skip
@click.option("--first", type=click.IntRange(1), default=2, show_default=True, help="Examples to show of each kind.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file for every finding.")
@format_option("table", "json")
def check(
    root: Path,
    dataset: str | None,
    splits: tuple[str, ...],
    images: Images,
    first: int,
    output: Path | None,
    style: str,
) -> None:
    """Look at every label file and image of the data set in ROOT; exit code 3 if it cannot be used.

    Errors make it unusable or its numbers wrong; warnings make some use impossible; notes are worth knowing.
    """
    from harness.datasets.check import check_data
    from harness.files import write_atomically

    report = check_data(root, name=dataset, splits=splits or None, images=images)
    if output is not None:
        write_atomically(output, orjson.dumps(report.as_plain(), option=orjson.OPT_INDENT_2))
    if style == "json":
        emit_json(report.as_plain())
    else:
        _print(report, first, output)
    if not report.usable:
        errors = sum(finding.severity == "error" for finding in report.findings)
        raise DataError(f"{root}: not usable as {report.name}: {errors} error(s); mend the files named above")


@command.command("convert")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the converted set.")
@click.option("--to", "target", type=click.Choice(["posetrack17", "posetrack18", "posetrack21"]), required=True,
              help="The data set whose layout is written.")  # fmt: skip
@click.option("--dataset", help="What ROOT is, a name of `harness data list`; recognised from the files if not given.")
@click.option("--split", "splits", multiple=True, help="A split to convert; every one that has labels by default.")
@click.option("--images", type=click.Choice(["link", "none"]), default="link", show_default=True,
              help="Relative links under the new names, or leave the images where they are.")  # fmt: skip
@format_option("table", "json", "csv", "markdown")
def convert(
    root: Path,
    output: Path,
    target: str,
    dataset: str | None,
    splits: tuple[str, ...],
    images: Literal["link", "none"],
    style: str,
) -> None:
    """Write the labels in ROOT in the layout of another PoseTrack, losing nothing.

    Prints what the target has no place for; that is kept in its files, and a conversion back puts it in place again.
    """
    from harness.datasets.convert import convert_data

    with progress_bar("converted") as report:
        made = convert_data(
            root, output, to=target, name=dataset, splits=splits or None, images=images, progress=report
        )
    emit_rows(made.rows, style)
    counts = ", ".join(f"{count} {what}" for what, count in made.counts.items())
    note(f"{made.source} -> {made.target}: {counts} in {output}")


def _print(report: Report, first: int, output: Path | None) -> None:
    click.echo(f"{report.root}: {report.name}\n")
    emit_rows(_facts(report), "table")
    shown = report.first_of_kinds(first)
    more = ", the first of each kind" if len(report.findings) > len(shown) else ""
    click.echo(f"\n{len(report.findings)} findings{more}")
    for kind, count in report.count_of_kinds().items():
        severity, meaning = KINDS[kind]
        click.echo(f"\n{severity:<8}{kind} ({count}): {meaning}")
        for finding in shown:
            if finding.kind == kind:
                click.echo(f"        {finding.file}: {finding.record}: {finding.found}")
    if output is not None:
        note(f"\nall of them: {output}")


def _facts(report: Report) -> list[dict[str, Any]]:
    """One row per fact, one column per split."""
    flat: dict[str, dict[str, Any]] = {}
    for split, facts in report.splits.items():
        for name, value in facts.items():
            nested = value.items() if isinstance(value, dict) else [("", value)]
            for key, number in nested:
                flat.setdefault(key or name, {})[split] = number
    return [
        {"": name.replace("_", " "), **{split: values.get(split, "") for split in report.splits}}
        for name, values in flat.items()
    ]
