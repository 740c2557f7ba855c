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

__all__ = ["emit_json", "emit_rows", "note", "progress_bar", "training_bar", "write_rows"]

Progress = Callable[..., None]

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

    body = [list(row.values()) for row in rows]
    if style == "markdown":
        from harness.report.formats import escape_markdown

        body = [[escape_markdown(cell) if isinstance(cell, str) else cell for cell in row] for row in body]
    return tabulate(
        body, headers=list(rows[0]) if rows else (), tablefmt=_TABULATE_STYLE[style],
        disable_numparse=True, stralign="left",
    )  # fmt: skip


def note(text: str) -> None:
    """Say something that is no result: on stderr."""
    click.echo(text, err=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on stderr, silent when that is no terminal; yields `report(done, total, detail="")`."""
    if not sys.stderr.isatty():
        yield lambda done, total, detail="": None
        return
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[detail]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None, detail="")
        yield lambda done, total, detail="": bar.update(task, completed=done, total=total, detail=detail)


@contextmanager
def training_bar(title: str) -> Iterator[Callable[[Any], None]]:
    """A bar with loss, held-out accuracy and speed; yields `tell(harness.training.Report)`."""
    with progress_bar(title) as report:
        held_out = ""

        def tell(state: Any) -> None:
            nonlocal held_out
            if state.held_out_pckh is not None:
                ap = "" if state.held_out_ap is None else f" (AP {100 * state.held_out_ap:.1f})"
                held_out = f", held out {100 * state.held_out_pckh:.1f}%{ap}"
            detail = f"loss {state.loss:.3f}{held_out}, {state.clips_per_second:.0f} clips/s"
            report(state.step, state.steps, detail)

        yield tell
