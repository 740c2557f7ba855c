"""harness report: plots of stored runs."""

from __future__ import annotations

import click

from harness.cli.report_page import html
from harness.cli.report_plots import curves, plots
from harness.cli.report_probes import probes
from harness.cli.report_study import study
from harness.cli.report_video import sheet, video

__all__ = ["command"]


@click.group("report")
def command() -> None:
    """Render plots, a page, videos and contact sheets from records."""


command.add_command(plots)
command.add_command(curves)
command.add_command(probes)
command.add_command(study)
command.add_command(html)
command.add_command(video)
command.add_command(sheet)
