"""Several processes at one job: sequences are handed out from the store that torchrun keeps, one at a time.

There are no collectives: a rank takes the next number of a counter, works, and takes another (a few at once where
there are very many), so a fast rank does more and none waits. A rank that dies is started again by torchrun
(`--max-restarts`), with counters at their beginning; what is finished lies on the disk and is not done again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson
import torch
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from harness.errors import HarnessError, UsageError

__all__ = ["ALONE", "Ranks", "join_ranks"]

#: How often a rank asks for more at least, if there is enough to do: seldom enough for a store that a thousand ask.
_ROUNDS = 64
#: Seconds between looks at a counter while waiting for the others.
_PAUSE = 0.02


@dataclass(frozen=True)
class Ranks:
    """This process among `size` at one job, `here` of them on this machine; `store` is None for one alone."""

    rank: int = 0
    size: int = 1
    here: int = 1
    store: Store | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that decides, merges and writes."""
        return self.rank == 0

    def named(self, job: str) -> Ranks:
        """The same ranks with counters of their own for a job."""
        return replace(self, store=None if self.store is None else PrefixStore(job, self.store))

    def decided(self, question: str, decide: Callable[[], int]) -> int:
        """The number that the first rank answers a question with, told to all."""
        if self.store is None:
            return decide()
        if self.first:
            self.store.set(question, str(decide()))
        return int(self.store.get(question))

    def shared(self, groups: list[list[int]]) -> Iterator[int]:
        """The numbers of those `groups`, the same list on every rank, that fall to this one; of all for one alone."""
        if self.store is None:
            yield from chain.from_iterable(groups)
            return
        at_once = max(1, len(groups) // (_ROUNDS * self.size))
        while (place := self.store.add("next", at_once) - at_once) < len(groups):
            yield from chain.from_iterable(groups[place : place + at_once])

    def gathered(self, facts: dict[str, Any]) -> list[dict[str, Any]]:
        """What every rank has to say at its end, for the first (which waits for all); nothing for the others."""
        if self.store is None:
            return [facts]
        self.store.set(f"facts/{self.rank}", orjson.dumps(facts).decode())
        self.store.add("ended", 1)
        if not self.first:
            return []
        while self.store.add("ended", 0) < self.size:
            time.sleep(_PAUSE)
        return [orjson.loads(self.store.get(f"facts/{rank}")) for rank in range(self.size)]


#: One process alone.
ALONE = Ranks()


@lru_cache(maxsize=1)
def join_ranks() -> Ranks:
    """The ranks that torchrun started, or one alone.

    Raises HarnessError where the store cannot be reached, UsageError where a variable of torchrun is no number.
    """
    size, here = _told("WORLD_SIZE", 1, least=1), _told("LOCAL_WORLD_SIZE", 1, least=1)
    if size == 1 or "RANK" not in os.environ:
        return ALONE
    _, local = _told("RANK", 0, most=size - 1), _told("LOCAL_RANK", 0)
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    try:
        store, rank, size = next(iter(rendezvous("env://")))
    except (RuntimeError, ValueError) as problem:
        raise HarnessError(f"the store of torchrun cannot be reached ({str(problem).splitlines()[0]})") from None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun keeps one store for all its restarts
    return Ranks(rank, size, here, PrefixStore(f"attempt {attempt}", store))


def _told(variable: str, otherwise: int, *, least: int = 0, most: int | None = None) -> int:
    """The number that torchrun puts into a variable; UsageError for what is none or out of bounds."""
    text = os.environ.get(variable, str(otherwise))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if number < least or (most is not None and number > most):
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        raise UsageError(f"{variable} is {text[:40]!r}, expected a number {bounds}; unset it, or start with torchrun")
    return number
