"""harness report html: one page that stands alone."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import data_root_option, results_option
from harness.cli.output import note, progress_bar
from harness.cli.table import chosen_runs
from harness.errors import DataError, UsageError

__all__ = ["html"]


@click.command("html")
@click.argument("runs", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"),
              show_default=True, help="The file to write.")  # fmt: skip
@click.option("--no-pixels", is_flag=True, help="Leave out every picture, to share what a data set's licence allows.")
@click.option("--failures", type=click.IntRange(0), default=1000, show_default=True, help="How many to show at most.")
@click.option("--title", default="", help="What the page is called.")
@data_root_option
@results_option
def html(
    runs: tuple[str, ...], output: Path, no_pixels: bool, failures: int, title: str, data_root: Path | None,
    results: Path,
) -> None:  # fmt: skip
    """Write one HTML file with summary, tables, plots, and the clips where the runs fail.

    \b
    harness report html hrnet fami -o report.html
    harness report html fami -o report.html --no-pixels

    The first two RUNS are A (the reference) and B: their clips are those where A and B differ most; with one run, its
    worst. The page works without a server and loads nothing. Other RUNS appear in tables and plots.
    """
    from harness.report.opened import check_same_labels, open_runs
    from harness.report.page import Content, write_page

    chosen = chosen_runs(runs, results)
    if len(chosen) > 1:
        check_same_labels(chosen[:2])
    opened, why = None, ""
    try:
        opened = open_runs(chosen[:2], data_root)
    except UsageError:
        raise
    except DataError as problem:
        why = f"Without the failures: {problem}"
        note(why)
    content = Content(tuple(chosen), opened, why, pixels=not no_pixels, failures=failures, title=title)
    with progress_bar("page") as report:
        size = write_page(content, output, progress=report)
    click.echo(output)
    note(f"{size / 1e6:.1f} MB, one file: open it in a browser, press ? for its keys")
