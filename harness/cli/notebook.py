"""harness notebook: a notebook bound to a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli.options import data_root_option, format_option, results_option
from harness.cli.output import emit_rows, note
from harness.errors import UsageError
from harness.report.notebooks import Notebook, notebooks, write_notebook
from harness.results import Results

__all__ = ["command"]


@click.group("notebook")
def command() -> None:
    """Write a notebook bound to stored runs, or list the kinds there are.

    \b
    harness notebook failure --run fami
    harness notebook compare --run hrnet --run fami -o compare.ipynb

    Open it with Jupyter, or run it: jupyter execute compare.ipynb (pip install 'vidpose-harness[notebooks]').
    """


@command.command("list")
@format_option("table", "json", "csv", "markdown")
def list_notebooks(style: str) -> None:
    """List the kinds of notebooks."""
    kinds = [notebooks[name] for name in notebooks]
    emit_rows([{"notebook": kind.name, "--run": _asks(kind), "what it shows": kind.title} for kind in kinds], style)


def _asks(kind: Notebook) -> str:
    return (
        "" if not kind.runs else "once or more" if kind.runs[0].endswith("S") else ("once", "twice")[len(kind.runs) - 1]
    )


def _verb(kind: Notebook) -> click.Command:
    """The command that writes one kind."""

    @click.command(kind.name, help=f"{kind.title}.")
    @click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(f"{kind.name}.ipynb"),
                  show_default=True, help="File to write.")  # fmt: skip
    def write(output: Path, **asked: Any) -> None:
        click.echo(write_notebook(kind.name, output, _values(kind, output, **asked)))
        note(f"open it: jupyter lab {output}")

    verb: Any = write  # options can be added to a command as to a function
    if "RESULTS" in kind.parameters:
        verb = results_option(verb)
    if kind.runs:
        verb = data_root_option(verb)
        verb = click.option("--run", "runs", multiple=True, required=True,
                            help=f"An id, the start of one, or a method's name; {_asks(kind)}.")(verb)  # fmt: skip
    command: click.Command = verb
    return command


def _values(
    kind: Notebook,
    output: Path,
    *,
    results: Path | None = None,
    runs: tuple[str, ...] = (),
    data_root: Path | None = None,
) -> Mapping[str, Any]:
    """The parameters for what was asked: full run ids, and paths as the notebook sees them from its own folder."""
    values: dict[str, Any] = {}
    if results is not None:
        values["RESULTS"] = _seen_from(output, results)
    if kind.runs:
        ids = [Results(results or Path("results")).one(word).id for word in runs]
        values["DATA_ROOT"] = _seen_from(output, data_root) if data_root else None
        if kind.runs[0].endswith("S"):
            values[kind.runs[0]] = ids
        elif len(ids) == len(kind.runs):
            values |= dict(zip(kind.runs, ids, strict=True))
        else:
            raise UsageError(
                f"notebook '{kind.name}' is about {len(kind.runs)} run(s), {len(ids)} named; give --run {_asks(kind)}"
            )
    return values


def _seen_from(output: Path, path: Path) -> str:
    return os.path.relpath(path.absolute(), output.absolute().parent)


for _name in notebooks:
    command.add_command(_verb(notebooks[_name]))
