"""How rows reach the terminal: as a table, JSON, CSV, Markdown or LaTeX; progress goes to stderr and only to people."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson

__all__ = ["emit_json", "emit_rows", "note", "progress_bar", "write_rows"]

Progress = Callable[[int, int], None]

_TABULATE_STYLE = {"table": "simple", "markdown": "github", "latex": "latex_booktabs"}


def emit_json(value: Any) -> None:
    """Print a value as indented JSON; NaN becomes null."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())


def emit_rows(rows: Sequence[dict[str, Any]], style: str) -> None:
    """Print rows, which share their keys, in the style the user asked for."""
    if style == "json":
        emit_json(list(rows))
    else:
        click.echo(write_rows(rows, style).rstrip("\n"))


def write_rows(rows: Sequence[dict[str, Any]], style: str) -> str:
    """Rows as CSV (full precision) or as a table of one of tabulate's styles."""
    if style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    from tabulate import tabulate

    return tabulate(
        [list(row.values()) for row in rows], headers=list(rows[0]) if rows else (), tablefmt=_TABULATE_STYLE[style],
        disable_numparse=True, stralign="left",
    )  # fmt: skip


def note(text: str) -> None:
    """Say something that is no result: on stderr."""
    click.echo(text, err=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on stderr, silent when that is no terminal; yields `report(done, total)`."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
