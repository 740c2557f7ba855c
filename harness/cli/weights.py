"""harness weights: which weights are known, and whether they are what the manifest says."""

from __future__ import annotations

import click

from harness.cli.options import format_option
from harness.cli.output import emit_rows
from harness.errors import WeightsError, listed
from harness.weights import WeightsEntry, sha256_of, weights

__all__ = ["command"]


@click.group("weights")
def command() -> None:
    """Check the shipped weights."""


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


def _state(entry: WeightsEntry) -> str:
    if not entry.path.is_file():
        return "missing"
    return "ok" if sha256_of(entry.path) == entry.sha256.removeprefix("sha256:") else "changed"


def _row(entry: WeightsEntry) -> dict[str, object]:
    return {
        "name": entry.name, "sha256": entry.sha256.removeprefix("sha256:")[:12], "licence": entry.licence,
        "trained on": entry.trained_on, "file": entry.file,
    }  # fmt: skip
