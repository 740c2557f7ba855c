"""harness weights: which weights are known, and whether they are what the manifest says."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import format_option
from harness.cli.output import emit_rows, note
from harness.errors import WeightsError, listed
from harness.files import sha256_of
from harness.weights import WeightsEntry, weights

__all__ = ["command"]


@click.group("weights")
def command() -> None:
    """List and check the shipped weights, convert checkpoints."""


@command.command("list")
@format_option("table", "json", "csv", "markdown")
def list_weights(style: str) -> None:
    """List every weights file of the manifests."""
    emit_rows([_row(weights[name]) for name in weights], style)


@command.command("check")
def check() -> None:
    """Compare every weights file with the hash of its manifest; exit code 4 for a missing or changed one."""
    bad = []
    for name in weights:
        entry = weights[name]
        state = _state(entry)
        click.echo(f"{state:<8} {name}  {entry.path}")
        if state != "ok" and not (state == "missing" and entry.url):
            bad.append(f"{name} ({state})")
    if bad:
        raise WeightsError(f"weights are not what their manifest says: {listed(bad)}; reinstall the package")


@command.command("convert")
@click.argument("source")
@click.option("--method", required=True, help="A name of `harness methods list`.")
@click.option("--preset", help="Size of the method; `harness methods show M` lists them.")
@click.option("--to", "target", default="ours", show_default=True,
              help="Whose names: ours, or how a source's begin, as in 'mmpose' or 'official'.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
def convert_weights(source: str, method: str, preset: str | None, target: str, output: Path) -> None:
    """Read a checkpoint SOURCE (a file, or a name of `harness weights list`) and write it under other names.

    \b
    harness weights convert pose_hrnet_w48_384x288.pth --method hrnet --preset w48-384x288 -o w48.safetensors
    harness weights convert w48.safetensors --method hrnet --preset w48-384x288 --to mmpose -o w48.pth
    """
    from harness.methods import methods
    from harness.weights import convert

    card = methods[method]
    module = card.build(card.preset(preset)[1].options)
    loaded = convert(module, source, output, to=target)
    note(f"read {loaded.path} ({loaded.source}), every tensor of it")
    if loaded.note:
        note(f"note: {loaded.note}")
    click.echo(output)


def _state(entry: WeightsEntry) -> str:
    if not entry.path.is_file():
        return "missing"
    return "ok" if sha256_of(entry.path) == entry.sha256.removeprefix("sha256:") else "changed"


def _row(entry: WeightsEntry) -> dict[str, object]:
    return {
        "name": entry.name, "sha256": entry.sha256.removeprefix("sha256:")[:12], "licence": entry.licence,
        "trained on": entry.trained_on, "file": entry.file,
    }  # fmt: skip
