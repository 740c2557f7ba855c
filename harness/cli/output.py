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

#: Columns of a terminal that hold a bar and the time gone by beside what has to be there.
_WIDE = 110

#: Letters of the title where a line is narrower.
_SHORT = 18

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
def progress_bar(title: str, *, detailed: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr, silent when that is no terminal; yields `report(done, total, detail="")`.

    What is left is what one looks for: beside much detail, the bar and the time gone by give way on a narrow line.
    """
    if not sys.stderr.isatty():
        yield lambda done, total, detail="": None
        return
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    wide = console.width >= _WIDE or not detailed
    shown = progress.Progress(
        progress.TextColumn("{task.description}"),
        *([progress.BarColumn()] if wide else []),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[detail]}"),
        *([progress.TimeElapsedColumn()] if wide else []),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with shown:
        cut = title if wide or len(title) <= _SHORT else f"{title[: _SHORT - 1]}…"
        task = shown.add_task(cut, total=None, detail="")
        yield lambda done, total, detail="": shown.update(task, completed=done, total=total, detail=detail)


@contextmanager
def training_bar(title: str) -> Iterator[Callable[[Any], None]]:
    """A bar with loss, held-out PCKh and AP (percent), clips per second; yields `tell(harness.training.Report)`."""
    with progress_bar(title, detailed=True) as report:
        held_out = ""

        def tell(state: Any) -> None:
            nonlocal held_out
            if state.held_out_pckh is not None:
                ap = "" if state.held_out_ap is None else f", AP {100 * state.held_out_ap:.1f}"
                held_out = f", PCKh {100 * state.held_out_pckh:.1f}{ap}"
            detail = f"loss {state.loss:.3f}{held_out}, {state.clips_per_second:.0f}/s"
            report(state.step, state.steps, detail)

        yield tell
