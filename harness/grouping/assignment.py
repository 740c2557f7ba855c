"""The classic assignment algorithm, with a scan order of its own: among equal answers it always takes the same one.

Costs of associative embedding are rounded, so that most matrices have many best assignments, and which one a solver
returns is part of the method (whole_frame.md 2.5). Zeros of a row are bits of one integer here, so that a search step
is a few integer operations instead of a walk over the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign"]

Floats = NDArray[np.float64]


def assign(cost: Floats) -> list[tuple[int, int]]:
    """Pairs (row, column), by row, of a cheapest assignment of a cost matrix (R,C); of equal ones the classic solver's.

    min(R, C) pairs, whatever they cost. Raises ValueError for costs that are no numbers, of which none is the cheapest.

    >>> assign(np.array([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0]]))
    [(0, 1), (1, 0)]
    """
    if not np.isfinite(cost).all():
        raise ValueError("costs of an assignment have to be finite")
    rows, columns = cost.shape
    size = max(rows, columns)
    if not rows or not columns:
        return []
    square = np.zeros((size, size))
    square[:rows, :columns] = cost
    pairs = _Search(square).run()
    return [(row, column) for row, column in enumerate(pairs[:rows]) if column < columns]


class _Search:
    """One square matrix while it is reduced. Stars and primes are columns by row, -1 where there is none."""

    def __init__(self, square: Floats) -> None:
        self.costs = square - square.min(axis=1, keepdims=True)
        self.size = len(square)
        self.zeros = _bits(self.costs == 0)
        self.star_of_row, self.star_of_column = [-1] * self.size, [-1] * self.size
        self.prime_of_row = [-1] * self.size
        self.covered = [False] * self.size
        self.open_columns = 0

    def run(self) -> Sequence[int]:
        """The column of every row."""
        taken = 0
        for row, zeros in enumerate(self.zeros):
            free = zeros & ~taken
            if free:
                first = free & -free
                taken |= first
                self._star(row, first.bit_length() - 1)
        while self._cover_stars():
            while (found := self._primed()) is None:
                self._reduce()
            self._augment(*found)
        return self.star_of_row

    def _star(self, row: int, column: int) -> None:
        self.star_of_row[row], self.star_of_column[column] = column, row

    def _cover_stars(self) -> bool:
        """Cover the columns that hold a star and no row; whether columns are left."""
        self.open_columns = sum(1 << column for column, row in enumerate(self.star_of_column) if row < 0)
        self.covered = [False] * self.size
        self.prime_of_row = [-1] * self.size
        return bool(self.open_columns)

    def _primed(self) -> tuple[int, int] | None:
        """Prime uncovered zeros until one stands in a row without a star: its place, or None where zeros run out."""
        row, column = 0, 0
        while True:
            place = self._open_zero(row, column)
            if place is None:
                return None
            row, column = place
            self.prime_of_row[row] = column
            star = self.star_of_row[row]
            if star < 0:
                return place
            self.covered[row] = True
            self.open_columns |= 1 << star
            column = star

    def _open_zero(self, first_row: int, first_column: int) -> tuple[int, int] | None:
        """Of the first row that has any, both ways taken cyclically, the last uncovered zero met."""
        before = (1 << first_column) - 1
        for row in (*range(first_row, self.size), *range(first_row)):
            zeros = 0 if self.covered[row] else self.zeros[row] & self.open_columns
            if zeros:
                return row, ((zeros & before) or zeros).bit_length() - 1
        return None

    def _augment(self, row: int, column: int) -> None:
        """Along stars and primes in turn: every prime on the way becomes a star, every star goes."""
        while True:
            other = self.star_of_column[column]
            self._star(row, column)
            if other < 0:
                return
            row, column = other, self.prime_of_row[other]

    def _reduce(self) -> None:
        """Make a new zero among the uncovered cells; added first and then subtracted, as rounding remembers it."""
        covered = np.array(self.covered)
        open_columns = np.array([bool(self.open_columns >> column & 1) for column in range(self.size)])
        smallest = self.costs[np.ix_(~covered, open_columns)].min()
        self.costs[covered] += smallest
        self.costs[:, open_columns] -= smallest
        self.zeros = _bits(self.costs == 0)


def _bits(flags: NDArray[np.bool_]) -> list[int]:
    """Each row of flags as one integer, column 0 the lowest bit."""
    packed = np.packbits(flags, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]
