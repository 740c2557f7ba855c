"""harness methods: what can be evaluated, and what each method is."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import format_option
from harness.cli.output import emit_json, emit_rows
from harness.methods import MethodCard, Preset, methods

__all__ = ["command"]

_WIDTH = 100


@click.group("methods")
def command() -> None:
    """List the methods, or show what one is."""


@command.command("list")
@format_option("table", "json", "csv", "markdown")
def list_methods(style: str) -> None:
    """List every registered method."""
    rows = [_row(methods[name]) for name in methods]
    if style == "table":  # a screen is narrow; `show` and the other formats have all of it
        rows = [{**row, "presets": _few(methods[row["name"]])} for row in rows]
    emit_rows(rows, style)


@command.command("show")
@click.argument("name")
@format_option("table", "json")
def show_method(name: str, style: str) -> None:
    """Show a method's card: paper, presets, weights, published numbers."""
    from harness.inference.flops import sizes

    card = methods[name]
    counted = sizes(card)
    if style == "json":
        presets = {
            key: {**_preset(value), "parameters": counted[key][0], "multiply_adds": counted[key][1]}
            for key, value in card.presets.items()
        }
        published = [vars(row) for row in card.published]
        emit_json({**_row(card), "notes": card.notes, "presets": presets, "published": published})
        return
    click.echo(f"{card.title} ({card.name})\n")
    for label, value in (("paper", card.paper), ("licence", card.licence)):
        if value:
            click.echo(click.wrap_text(f"{label:<9} {value}", width=_WIDTH, subsequent_indent=" " * 10))
    click.echo()
    click.echo(click.wrap_text(card.summary, width=_WIDTH))
    if card.notes:
        click.echo("\n" + click.wrap_text(card.notes, width=_WIDTH, preserve_paragraphs=True))
    if card.presets:
        click.echo("\nPresets (G: 10^9 multiply-adds for one person; tables often count units of 2^30)")
        emit_rows(
            [_counted(_marked(key, card), preset, *counted[key]) for key, preset in card.presets.items()], "table"
        )
        _show_recipes(card, [key for key in card.presets if counted[key][0]])
    if card.published:
        click.echo("\nPublished (percent AP)")
        emit_rows(
            [{"": number, "data set": f"{row.dataset} {row.split}", **_percent(row.values)}
             for number, row in enumerate(card.published, start=1)], "table",
        )  # fmt: skip
        click.echo("\nRead in (tier A: the authors' own; B: quoted by others)")
        for number, row in enumerate(card.published, start=1):
            click.echo(f"{number:>3}  {row.source}")


def _show_recipes(card: MethodCard, presets: list[str]) -> None:
    """By what `harness train` trains the presets that have something to train."""
    if card.fit is not None or not presets:
        return
    from harness.training import about_recipe

    by_recipe: dict[str, list[str]] = {}
    for preset in presets:
        by_recipe.setdefault(card.recipe(preset), []).append(preset)
    click.echo("\nTrained by (harness train --recipe; --list-recipes shows others)")
    emit_rows(
        [{"recipe": name, "presets": ", ".join(names[:3]) + (" ..." if names[3:] else ""), "what": about_recipe(name)}
         for name, names in by_recipe.items()], "table",
    )  # fmt: skip


def _row(card: MethodCard) -> dict[str, Any]:
    return {
        "name": card.name, "method": card.title, "year": card.year or "", "presets": ", ".join(card.presets),
        "summary": card.summary,
    }  # fmt: skip


def _few(card: MethodCard) -> str:
    """The first presets of a method and how many more there are."""
    names = list(card.presets)
    more = f" and {len(names) - 2} more" if len(names) > 3 else ""
    return ", ".join(names[: 2 if more else 3]) + more


def _preset(preset: Preset) -> dict[str, Any]:
    width, height = preset.crop.size
    return {
        "input": f"{height}x{width}", "frames": _frames(preset), "codec": preset.codec,
        "weights": preset.weights or "not shipped: give --weights",
    }  # fmt: skip


def _counted(name: str, preset: Preset, parameters: int, multiply_adds: int) -> dict[str, Any]:
    sized = {"parameters": f"{parameters / 1e6:.2f} M", "cost": f"{multiply_adds / 1e9:.3g} G"}
    return {"preset": name, **sized, **_preset(preset)}


def _frames(preset: Preset) -> str:
    if not preset.support:
        return "none"
    return " ".join("t" if offset == 0 else f"t{offset:+d}" for offset in preset.support)


def _marked(name: str, card: MethodCard) -> str:
    return f"{name} (default)" if name == card.default_preset else name


def _percent(values: Any) -> dict[str, str]:
    return {key: f"{value:.1f}" for key, value in values.items()}
