"""Writes what follows from the code or from records: reference pages, the README's table, the notebooks of reports/.

    python docs/generate.py            # writes
    python docs/generate.py --check    # exit code 1, naming what is stale

Text between `<!-- generated: NAME -->` and `<!-- end -->` is replaced, in the files of `MARKED`; the files of `WHOLE`
are generated altogether.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from harness.cli import VERBS, cli
from harness.datasets import datasets
from harness.lifting.scores import table_rows
from harness.methods import MethodCard, methods
from harness.registry import load_plugins
from harness.report import leaderboard, render
from harness.report.notebooks import notebooks, render_notebook
from harness.results import Results
from harness.scoring.slices import slices

ROOT = Path(__file__).parents[1]

#: Methods of the documentation: those that come with the harness, whatever else is installed here.
OWN = "baselines."


def cli_page() -> str:
    """Every command with its arguments and options."""
    parts = ["# Command line", "Generated from the commands themselves; `harness VERB --help` says the same.",
             "Every option can be an environment variable: `HARNESS_EVAL_METHOD`, or `HARNESS_DATASET` for every verb. "
             "Verbs with `--data-root` read defaults from a `harness.toml` there. Flags win."]  # fmt: skip
    for words, command in commands():
        parts.append(f"{'#' * (1 + len(words))} harness {' '.join(words)}")
        parts.append(_prose(command.help or VERBS.get(words[0], "")))
        if not isinstance(command, click.Group):
            arguments = [_argument(item) for item in command.params if isinstance(item, click.Argument)]
            parts.append(f"    harness {' '.join([*words, '[OPTIONS]', *arguments])}")
        options = [_option(item) for item in command.params if isinstance(item, click.Option)]
        if options:
            parts.append(_table("option | ", options))
    return "\n\n".join(parts) + "\n"


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb and every command below one, by name."""
    context = click.Context(cli)
    for verb in cli.list_commands(context):
        command = cli.get_command(context, verb)
        if command is not None:
            yield from _below((verb,), command)


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from _below((*words, name), child)


def _argument(item: click.Argument) -> str:
    name = item.metavar or (item.name or "").upper()
    plain = name if name.startswith("[") or item.required else f"[{name}]"
    return plain + ("..." if item.nargs == -1 else "")


def _option(item: click.Option) -> list[str]:
    names = ", ".join([*item.opts, *item.secondary_opts])
    kind = "" if item.is_flag else f" {_kind(item)}"
    default = ""
    if item.show_default and item.default is not None and not (item.is_flag and item.default is False):
        shown = item.opts[0] if item.default is True else item.default
        values = shown if isinstance(shown, tuple) else (shown,)
        default = f" Default: `{' '.join(map(str, values))}`."
    required = " **Required.**" if item.required else ""
    said = re.sub(r"\s+", " ", item.help or "")
    return [f"`{names}{kind}`", f"{_cell(said)}{required}{default}"]


def _kind(item: click.Option) -> str:
    if isinstance(item.type, click.Choice):
        return "\\|".join(map(str, item.type.choices))
    return item.metavar or item.type.name.upper().replace(" RANGE", "")


def _prose(text: str) -> str:
    """Help as Markdown: what stands after a \\b is verbatim."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if lines[0].strip() == "\b":
            blocks.append("\n".join(f"    {line.strip()}" for line in lines[1:]))
        else:
            blocks.append(" ".join(line.strip() for line in lines).replace("<", "&lt;"))
    return "\n\n".join(blocks)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def methods_page() -> str:
    """Every method that comes with the harness: what the paper says, what the code does, what was published."""
    load_plugins()
    cards = [methods[name] for name in methods if _comes_with(methods[name])]
    parts = [
        "# Methods",
        "Generated from the methods' cards; `harness methods show NAME` adds parameters and multiply-adds of every "
        "preset. Where paper and released code differ, both are said, and which of them the preset `paper` follows.",
        _table("name | method | year | ", (
            [f"[`{card.name}`](#{card.name})", card.title, str(card.year or ""), _cell(card.summary)] for card in cards
        )),
    ]  # fmt: skip
    for card in cards:
        parts += _method(card)
    return "\n\n".join(parts) + "\n"


def _comes_with(card: MethodCard) -> bool:
    return card.build.__module__.startswith(OWN)


def _method(card: MethodCard) -> Iterator[str]:
    yield f"## {card.name}"
    yield f"**{card.title}.** {_cell(card.summary)}"
    facts = [f"Paper: {card.paper}." if card.paper else "", f"Licence: {card.licence}." if card.licence else ""]
    if any(facts):
        yield "  \n".join(fact.replace("<", "&lt;") for fact in facts if fact)
    if card.notes:
        yield card.notes.strip().replace("<", "&lt;")
    if card.presets:
        yield _table("preset | input | frames | codec | weights", (_preset(card, name) for name in card.presets))
    if card.published:
        rows = [
            [f"{row.dataset} {row.split}", *(f"{value:.1f}" for value in row.values.values()), _cell(row.source)]
            for row in card.published
        ]
        yield _table(" | ".join(["published", *card.published[0].values, "read in"]), rows)


def _preset(card: MethodCard, name: str) -> list[str]:
    preset = card.presets[name]
    return [
        f"`{name}`" + (" (default)" if name == card.default_preset else ""),
        "x".join(map(str, preset.crop.size[::-1])),
        " ".join(f"t{step:+d}" if step else "t" for step in preset.support) or "none",
        preset.codec,
        f"`{preset.weights}`" if preset.weights else "give `--weights`",
    ]


def _table(head: str, rows: Iterable[Iterable[str]]) -> str:
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", f"|{' --- |' * columns}", *(f"| {' | '.join(row)} |" for row in rows)])


def slices_table() -> str:
    """The registered slices."""
    rows = []
    for name in slices:
        item = slices[name]
        if not item.measure.__module__.startswith("harness."):
            continue
        cut = "terciles" if item.quantiles else ", ".join(f"{edge:g}" for edge in item.edges or ())
        rows.append([f"`{name}`", item.level, ", ".join(item.bins), cut, _cell(item.title), _cell(item.needs)])
    return _table("name | of each | bins | edges | what it measures | needs", rows)


def datasets_table() -> str:
    """The registered data sets."""
    cards = [datasets[name] for name in datasets if datasets[name].read.__module__.startswith("harness.")]
    return _table(
        "name | | splits | how to get it",
        (
            [f"`{card.name}`", card.title, " ".join(card.splits), _cell(card.get_it or "made on first use")]
            for card in cards
        ),
    )


def notebooks_table() -> str:
    """The kinds of notebooks."""
    return _table("notebook | what it shows", ([f"`{name}`", notebooks[name].title] for name in notebooks))


def reference_table() -> str:
    """The table of the whole runs on synthtrack val with true boxes, without its title and caption."""
    runs, _ = Results(ROOT / "results" / "reference").scan()
    shown = [run.record for run in runs if run.record.boxes.source == "truth" and not run.record.partial]
    shown = [record for record in shown if (record.dataset.name, record.dataset.split) == ("synthtrack", "val")]
    rendered = render(leaderboard(shown), "markdown")
    return "\n".join(line for line in rendered.splitlines() if line.startswith("|"))


def lifting_documents(seen: str) -> dict[tuple[int, int], dict[str, Any]]:
    """The reference documents of lifting by epochs and seed: of labelled joints, or of those a method's run found."""
    paths = (ROOT / "results" / "reference" / "lifting").glob(f"synthtrack-val-{seen}-*.json")
    documents = [json.loads(path.read_text()) for path in paths]
    return {(each["training"]["epochs"], each["training"]["seed"]): each for each in documents}


def lifting_table(seen: str) -> str:
    """What the first training gives: 60 epochs, seed 0."""
    rows = table_rows(lifting_documents(seen)[60, 0]["scores"])
    return _table(" | ".join(rows[0]), (list(row.values()) for row in rows))


def lifting_trainings() -> str:
    """MPJPE from labelled joints, training by training."""
    rows = []
    for (epochs, seed), document in sorted(lifting_documents("labels").items()):
        lines = {row["lifter"]: row for row in table_rows(document["scores"])}
        error, change = list(lines["anatomy"])[1:3]
        rows.append(
            [f"{epochs}, {seed}", *(lines[name][error] for name in ("anatomy", "direct")), lines["anatomy"][change]]
        )
    return _table("epochs, seed | anatomy | direct | change", rows)


WHOLE: dict[str, Callable[[], str]] = {
    "docs/cli.md": cli_page,
    "docs/methods.md": methods_page,
    **{f"reports/{name}.ipynb": lambda name=name: render_notebook(name) for name in notebooks},  # type: ignore[misc]
}
MARKED: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "table"): reference_table,
    ("docs/data.md", "datasets"): datasets_table,
    ("docs/lifting.md", "labels"): lambda: lifting_table("labels"),
    ("docs/lifting.md", "predicted"): lambda: lifting_table("hrnet"),
    ("docs/lifting.md", "trainings"): lifting_trainings,
    ("docs/notebooks.md", "notebooks"): notebooks_table,
    ("docs/slices.md", "slices"): slices_table,
}


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file with the text it ought to have."""
    for name, make in WHOLE.items():
        yield ROOT / name, make()
    for (name, part), make in MARKED.items():
        path = ROOT / name
        marker = re.compile(rf"(<!-- generated: {part} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = marker.subn(lambda found, make=make: f"{found[1]}\n{make()}\n\n{found[2]}", path.read_text())  # type: ignore[misc]
        if count != 1:
            raise SystemExit(f"{path}: expected one '<!-- generated: {part} -->', found {count}")
        yield path, text


def main() -> None:
    """Write what differs, or with --check only name it."""
    stale = False
    for path, text in generated():  # written one by one: somebody may be editing the next
        if not path.is_file() or path.read_text() != text:
            stale = True
            print(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        raise SystemExit("stale: run `make docs`")


if __name__ == "__main__":
    main()
