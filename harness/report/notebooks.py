"""Notebooks: Markdown templates with cells of Python, rendered to .ipynb and bound to runs by their first cell.

A template is a Markdown file: fenced Python is a code cell, the text between is prose, cut at headings. Its first code
cell holds the parameters, one assignment a line, which rendering replaces. The notebooks in `reports/` are the
templates as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.files import write_atomically
from harness.registry import Registry

__all__ = ["Notebook", "notebooks", "render_notebook", "write_notebook"]

_FOLDER = files("harness.report") / "templates" / "notebooks"
_CODE = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_ASSIGNMENT = re.compile(r"^([A-Z_]+) = (.+?)(  #.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Notebook:
    """A kind of notebook: `runs` are the parameters that name runs, in the order they are asked for; one that ends in
    an S takes a list."""

    name: str
    title: str
    runs: tuple[str, ...] = ()

    @property
    def template(self) -> str:
        """The Markdown it is rendered from."""
        return (_FOLDER / f"{self.name}.md").read_text(encoding="utf-8")

    @property
    def parameters(self) -> dict[str, str]:
        """The names assigned in the first code cell, with their values as Python text."""
        first = _CODE.search(self.template)
        return {name: value for name, value, _ in _ASSIGNMENT.findall(first[1])} if first else {}


notebooks: Registry[Notebook] = Registry("notebook")
for _item in (
    Notebook("failure", "Where one run fails, joint by joint, and how", ("RUN",)),
    Notebook("occlusion", "Hidden and fast joints: what time is used for", ("RUNS",)),
    Notebook("compare", "Whether B is really better than A, and where", ("A", "B")),
    Notebook("own_method", "A method of your own, from a network to a row of the table"),
    Notebook("paper_table", "Published rows, checked, beside what was measured"),
):
    notebooks.add(_item.name, _item)


def render_notebook(name: str, values: Mapping[str, Any] | None = None) -> str:
    """The notebook as JSON (nbformat 4.5, without outputs), `values` in place of the parameters of those names.

    The same values give the same text. Raises UsageError for an unknown notebook or parameter.

    >>> "RUN = 'hrnet'  # an id" in render_notebook("failure", {"RUN": "hrnet"})
    True
    """
    kind = notebooks[name]
    unknown = sorted(set(values or {}) - set(kind.parameters))
    if unknown:
        raise UsageError(f"notebook '{name}' has no parameter '{unknown[0]}'; it has {', '.join(kind.parameters)}")
    cells: list[dict[str, Any]] = []
    for number, (form, text) in enumerate(_cells(kind.template)):
        first = form == "code" and all(cell["cell_type"] != "code" for cell in cells)
        cells.append(_cell(f"{name}-{number}", form, _bound(text, values or {}) if first else text))
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def write_notebook(name: str, path: Path, values: Mapping[str, Any] | None = None) -> Path:
    """Render a notebook into a file; HarnessError where it cannot be written."""
    content = render_notebook(name, values)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode())
    except OSError as problem:
        raise HarnessError(
            f"{path}: cannot write the notebook ({problem.strerror or problem}); choose another -o"
        ) from None
    return path


def _cells(template: str) -> list[tuple[str, str]]:
    """("markdown" or "code", text) of every cell in order."""
    parts = _CODE.split(template)  # prose and code in turn
    found = []
    for number, part in enumerate(parts):
        texts = [part] if number % 2 else re.split(r"^(?=## )", part, flags=re.MULTILINE)
        found += [("code" if number % 2 else "markdown", text.strip("\n")) for text in texts if text.strip()]
    return found


def _bound(text: str, values: Mapping[str, Any]) -> str:
    def replaced(found: re.Match[str]) -> str:
        name, value, remark = found.groups()
        return f"{name} = {values[name]!r}{remark or ''}" if name in values else f"{name} = {value}{remark or ''}"

    return _ASSIGNMENT.sub(replaced, text)


def _cell(identity: str, form: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": form, "id": identity, "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell | {"execution_count": None, "outputs": []} if form == "code" else cell
