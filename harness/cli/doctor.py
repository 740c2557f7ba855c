"""harness doctor: what this environment is, and what to do about known trouble in it."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import format_option, results_option
from harness.cli.output import emit_json
from harness.errors import CheckError
from harness.typed_json import to_plain
from harness.version import __version__

__all__ = ["command"]


@click.command("doctor")
@results_option
@format_option("table", "json")
def command(results: Path, style: str) -> None:
    """Explain this environment and name the fix for known trouble; exit code 5 when something must be fixed.

    A line says ok, note (slow, lacking or worth knowing) or FIX (a run fails, or gives other numbers); the line below
    it is what to do.
    """
    from harness.doctor import examine, gather

    facts = gather(results)
    findings = examine(facts)
    if style == "json":
        emit_json({"facts": to_plain(facts), "findings": to_plain(findings)})
    else:
        click.echo(f"harness {__version__} in {facts.location}\n{facts.machine.platform}\n")
        for finding in findings:
            click.echo(f"{finding.level:<5} {finding.text}")
            if finding.remedy:
                click.echo(f"      -> {finding.remedy}")
    broken = sum(finding.level == "FIX" for finding in findings)
    if broken:
        raise CheckError(f"{broken} thing{'s' if broken > 1 else ''} to fix; the lines above say how")
