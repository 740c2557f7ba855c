"""One registry class for everything a user can name: methods, data sets, codecs, slices."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from harness.errors import UsageError

__all__ = ["PLUGIN_GROUP", "Registry", "load_plugins"]

PLUGIN_GROUP = "harness.plugins"

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Names mapped to items, with an error that suggests the nearest name.

    >>> fruit = Registry[int]("fruit")
    >>> fruit.add("apple", 1)
    1
    >>> fruit["aple"]
    Traceback (most recent call last):
        ...
    harness.errors.UsageError: unknown fruit 'aple'; did you mean 'apple'? Known: apple
    """

    def __init__(
        self,
        noun: str,
        *,
        before_lookup: Callable[[], None] | None = None,
        before_miss: Callable[[], None] | None = None,
    ) -> None:
        """`before_lookup` makes the built-in items known; `before_miss` the rest, where importing them is costly."""
        self.noun = noun
        self._items: dict[str, Item] = {}
        self._before_lookup = before_lookup
        self._before_miss = before_miss

    def add(self, name: str, item: Item) -> Item:
        """Register `item` under `name`; a name can be taken once."""
        if name in self._items:
            raise UsageError(f"{self.noun} '{name}' is registered twice; choose another name")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> Item:
        if name not in self:
            near = difflib.get_close_matches(name, self._items, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise UsageError(f"unknown {self.noun} '{name}'{hint} Known: {', '.join(self)}")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(sorted(self._items))

    def __contains__(self, name: object) -> bool:
        if self._before_lookup is not None:
            self._before_lookup()
        if name not in self._items:
            self._complete()
        return name in self._items

    def __len__(self) -> int:
        self._complete()
        return len(self._items)

    def _complete(self) -> None:
        for load in (self._before_lookup, self._before_miss):
            if load is not None:
                load()


_loaded: set[str] = set()


def load_plugins() -> None:
    """Import every package that registers itself through the entry-point group `harness.plugins` (once)."""
    for entry in entry_points(group=PLUGIN_GROUP):
        if entry.value not in _loaded:
            _loaded.add(entry.value)
            entry.load()
