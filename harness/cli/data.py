"""harness data: make the embedded data set, list what can be read, check and describe a data set."""

from __future__ import annotations

import click

from harness.cli.options import format_option
from harness.cli.output import emit_rows
from harness.datasets import check_split, datasets
from harness.errors import UsageError

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Make, list and check data sets."""


@command.command("list")
@format_option("table", "json", "csv", "markdown")
def list_datasets(style: str) -> None:
    """List every data set that can be read."""
    cards = [datasets[name] for name in datasets]
    emit_rows([{"name": card.name, "splits": " ".join(card.splits), "what": card.title,
                "get it": "made on first use" if card.prepare else card.get_it} for card in cards], style)  # fmt: skip


@command.command("make")
@click.argument("name", default="synthtrack")
@click.option("--split", "splits", multiple=True, help="A split to make; all of them by default.")
def make(name: str, splits: tuple[str, ...]) -> None:
    """Make an embedded data set now instead of on first use, and print where it lies."""
    card = datasets[name]
    if card.prepare is None:
        raise UsageError(f"data set '{name}' cannot be made, only downloaded. {card.get_it}")
    for split in splits or card.splits:
        check_split(name, split)
        click.echo(f"{split}: {card.prepare(split)}")
