"""One table, six forms: plain text for a terminal, Markdown, LaTeX (booktabs), HTML, CSV and JSON."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from tabulate import SEPARATING_LINE, tabulate

from harness.errors import UsageError
from harness.report.tables import Cell, Estimate, Section, Table, all_marks
from harness.typed_json import to_plain

__all__ = ["FORMATS", "escape_markdown", "render"]

#: Letters to a line that the plain form is made for; a wider terminal gets as many as it has.
TERMINAL_WIDTH = 100

#: So much more than that is not worth a second part.
_EXCESS = 24

#: Letters that labels have at the least; longer ones are wrapped where there is no room.
_LABEL = 16

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "–": "--", "†": r"\dag{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "×": r"$\times$",
    "≤": r"$\leq$", "≥": r"$\geq$", "Δ": r"$\Delta$", "−": "$-$", "·": r"$\cdot$", "±": r"$\pm$", "‡": r"\ddag{}",
}  # fmt: skip

Mark = Callable[[str, str], str]
Escape = Callable[[str], str]


def render(table: Table, form: str) -> str:
    """The table in one of FORMATS, ending in a newline; raises UsageError for another one."""
    if form not in FORMATS:
        raise UsageError(f"unknown table format '{form}'; choose one of {', '.join(FORMATS)}")
    return FORMATS[form](table).rstrip("\n") + "\n"


def _plain(table: Table) -> str:
    blocks = [table.title]
    ranked = {column.better for column in table.columns} - {""}
    for section in table.sections:
        titles = [f"{column.title}{_arrow(column.better) if len(ranked) > 1 else ''} " for column in table.columns]
        body = [[table.first, *titles], *_cells(table, section, _starred, escape=str)]
        text = "\n\n".join(_ruled(part) for part in _parts(body))
        blocks.append(f"{section.heading}\n{text}" if len(table.sections) > 1 else text)
    starred = any(any(all_marks(table, section)) for section in table.sections)
    best = f"* best in its {'row' if table.rows_rank else 'column'}."
    return "\n\n".join([*blocks, "\n".join([*table.caption, *([best] if starred else [])])])


def _parts(body: list[list[str]]) -> list[list[list[str]]]:
    """The head and rows of a table, or several of them that fit a terminal, each led by the labels."""
    room = max(TERMINAL_WIDTH, shutil.get_terminal_size((TERMINAL_WIDTH, 24)).columns)
    widths = [2 + max(len(row[place]) for row in body) for place in range(len(body[0]))]
    if sum(widths[1:]) + _LABEL <= room + _EXCESS:
        return [body]
    parts: list[list[int]] = [[]]
    for place in range(1, len(widths)):
        if parts[-1] and sum(widths[each] for each in parts[-1]) + widths[place] + _LABEL > room:
            parts.append([])
        parts[-1].append(place)
    return [[[row[0], *(row[place] for place in part)] for row in body] for part in parts]


def _ruled(body: list[list[str]]) -> str:
    room = max(TERMINAL_WIDTH, shutil.get_terminal_size((TERMINAL_WIDTH, 24)).columns)
    width = room - sum(2 + max(len(row[place]) for row in body) for place in range(1, len(body[0])))
    return tabulate(
        [body[0], SEPARATING_LINE, *body[1:]], tablefmt="simple", disable_numparse=True,
        colalign=("left", *("right" for _ in body[0][1:])),
        maxcolwidths=[max(width, _LABEL), *(None for _ in body[0][1:])],
    )  # fmt: skip


def _markdown(table: Table) -> str:
    blocks = [f"**{escape_markdown(table.title)}**"]
    for section in table.sections:
        if len(table.sections) > 1:
            blocks.append(f"*{escape_markdown(section.heading)}*")
        head = [table.first, *(f"{column.title}{_arrow(column.better)}" for column in table.columns)]
        body = _cells(table, section, _emphasised, escape=escape_markdown)
        align = ("left", *("right" for _ in table.columns))
        blocks.append(tabulate(body, head, tablefmt="pipe", disable_numparse=True, colalign=align))
    return "\n\n".join([*blocks, "  \n".join(escape_markdown(line) for line in table.caption)])


def _latex(table: Table) -> str:
    head = [table.first, *(f"{column.title}{_arrow(column.better)}" for column in table.columns)]
    lines = [
        r"% needs \usepackage{booktabs,graphicx}", r"\begin{table}", r"  \centering\small\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{_escape_latex(' '.join([table.title + '.', *table.caption]))}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"    \toprule",
        f"    {' & '.join(_escape_latex(title) for title in head)} \\\\",
    ]  # fmt: skip
    for section in table.sections:
        lines.append(r"    \midrule")
        if len(table.sections) > 1:
            lines.append(rf"    \multicolumn{{{len(head)}}}{{l}}{{\emph{{{_escape_latex(section.heading)}}}}} \\")
        lines += [f"    {' & '.join(row)} \\\\" for row in _cells(table, section, _commanded, escape=_escape_latex)]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"])


def _html(table: Table) -> str:
    """A figure element: the page that takes it gives the style; best is strong, second underlined."""
    head = [table.first, *(f"{column.title}{_arrow(column.better)}" for column in table.columns)]
    lines = ["<figure>", f"<figcaption>{html.escape(_one_line(table.title))}</figcaption>", "<table>", "<thead>"]
    titles = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in head)
    lines += [f"<tr>{titles}</tr>", "</thead>"]
    for section in table.sections:
        lines.append("<tbody>")
        if len(table.sections) > 1:
            heading = html.escape(_one_line(section.heading))
            lines.append(f'<tr><th scope="rowgroup" colspan="{len(head)}">{heading}</th></tr>')
        for label, *cells in _cells(table, section, _tagged, escape=_escape_html):
            values = "".join(f"<td>{cell}</td>" for cell in cells)
            lines.append(f'<tr><th scope="row">{label}</th>{values}</tr>')
        lines.append("</tbody>")
    notes = [f"<p><small>{html.escape(_one_line(line))}</small></p>" for line in table.caption]
    return "\n".join([*lines, "</table>", *notes, "</figure>"])


def _csv(table: Table) -> str:
    rows = [line for section in _document(table)["sections"] for line in section["rows"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _json(table: Table) -> str:
    return json.dumps(_document(table), indent=2, ensure_ascii=False, allow_nan=False)


def _document(table: Table) -> dict[str, Any]:
    """Title, columns, sections of rows with raw values, caption: the values of the records, not the printed ones."""
    names = [column.name for column in table.columns]
    rows = [row for section in table.sections for row in section.rows]
    bounded = {name for name in names for row in rows if isinstance(row.cells.get(name), Estimate)}
    sections = [
        {
            "heading": section.heading,
            "rows": [{"label": row.label, **_values(row.cells, names, bounded), **row.facts} for row in section.rows],
        }
        for section in table.sections
    ]
    columns = [{"name": column.name, "title": column.title, "better": column.better} for column in table.columns]
    return {"title": table.title, "columns": columns, "sections": _scalars(sections), "caption": list(table.caption)}


def _values(cells: Mapping[str, Cell], names: list[str], bounded: set[str]) -> dict[str, Cell]:
    """Values by column; those with intervals are followed by `NAME_low` and `NAME_high`, the same for every row."""
    values: dict[str, Cell] = {}
    for name in names:
        cell = cells.get(name)
        values[name] = float(cell) if isinstance(cell, Estimate) else cell
        if name in bounded:
            known = isinstance(cell, Estimate)
            values |= {f"{name}_{end}": getattr(cell, end) if known else None for end in ("low", "high")}
    return values


def _scalars(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _scalars(item) for key, item in value.items()}
    return [_scalars(item) for item in value] if isinstance(value, list) else to_plain(value)


def _cells(table: Table, section: Section, mark: Mark, *, escape: Escape) -> list[list[str]]:
    """Label and printed values of every row, the best and second of each column marked."""
    marked = all_marks(table, section)
    return [
        [
            escape(f"{row.label} †" if row.partial else row.label),
            *(
                mark(escape(column.shown(row.cells.get(column.name))), places.get(number, ""))
                for column, places in zip(table.columns, marked, strict=True)
            ),
        ]
        for number, row in enumerate(section.rows)
    ]


def _starred(text: str, mark: str) -> str:
    return f"{text}{'*' if mark == 'best' else ' '}"


def _emphasised(text: str, mark: str) -> str:
    return {"best": f"**{text}**", "second": f"<u>{text}</u>"}.get(mark, text)


def _commanded(text: str, mark: str) -> str:
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}"}.get(mark, text)


def _tagged(text: str, mark: str) -> str:
    return {"best": f"<strong>{text}</strong>", "second": f"<u>{text}</u>"}.get(mark, text)


def _arrow(better: str) -> str:
    return {"high": " ↑", "low": " ↓"}.get(better, "")


def escape_markdown(text: str) -> str:
    """Show a text as it is; underscores within words need no escape and are left readable."""
    return re.sub(r"[\\|*`<\[\]]|(?<!\w)_|_(?!\w)", lambda found: "\\" + found[0], _one_line(text))


def _escape_html(text: str) -> str:
    return html.escape(_one_line(text))


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())


#: The forms a table can be rendered in.
FORMATS: dict[str, Callable[[Table], str]] = {
    "table": _plain,
    "markdown": _markdown,
    "latex": _latex,
    "html": _html,
    "csv": _csv,
    "json": _json,
}
