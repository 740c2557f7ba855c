"""The HTML page: one file that stands alone, with tables that sort, plots, and the failures to look at.

    content = Content(runs, open_runs(runs))
    write_page(content, Path("report.html"))

`failures.py` finds where runs differ, `theatre.py` gathers the poses of those clips, `pictures.py` their frames, and
`making.py` fills `templates/`. The page runs under a content security policy that lets it load nothing at all.
"""

from harness.report.page.failures import Failure, cells_of, find_failures
from harness.report.page.making import FAILURES, Content, make_page, write_page

__all__ = ["FAILURES", "Content", "Failure", "cells_of", "find_failures", "make_page", "write_page"]
