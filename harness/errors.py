"""The few kinds of error a user can meet, each with its exit code: 2 usage, 3 data, 4 weights, 5 check."""

from __future__ import annotations

__all__ = ["CheckError", "DataError", "HarnessError", "UsageError", "WeightsError", "listed"]


class HarnessError(Exception):
    """A failure explained in one or two lines: what was expected, what came, what to do. Exit code 1."""

    exit_code = 1


class UsageError(HarnessError):
    """A name, option or combination that does not exist. Exit code 2."""

    exit_code = 2


class DataError(HarnessError):
    """Data that are missing or invalid; the message names the file and the record in it. Exit code 3."""

    exit_code = 3


class WeightsError(HarnessError):
    """Weights that are missing, do not fit the network, or have another hash. Exit code 4."""

    exit_code = 4


class CheckError(HarnessError):
    """A check that tripped: verification, gate, drift. Exit code 5."""

    exit_code = 5


def listed(items: list[str], *, limit: int = 3) -> str:
    """Join items for a one-line message, cutting a long list short.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    shown = ", ".join(items[:limit])
    return f"{shown} and {len(items) - limit} more" if len(items) > limit else shown
