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

    def __init__(self, noun: str, *, before_lookup: Callable[[], None] | None = None) -> None:
        self.noun = noun
        self._items: dict[str, Item] = {}
        self._before_lookup = before_lookup

    def add(self, name: str, item: Item) -> Item:
        """Register `item` under `name`; a name can be taken once."""
        if name in self._items:
            raise UsageError(f"{self.noun} '{name}' is registered twice; choose another name")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> Item:
        self._prepare()
        if name not in self._items:
            near = difflib.get_close_matches(name, self._items, n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise UsageError(f"unknown {self.noun} '{name}'{hint} Known: {', '.join(self)}")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._prepare()
        return iter(sorted(self._items))

    def __contains__(self, name: object) -> bool:
        self._prepare()
        return name in self._items

    def __len__(self) -> int:
        self._prepare()
        return len(self._items)

    def _prepare(self) -> None:
        if self._before_lookup is not None:
            self._before_lookup()


_loaded: set[str] = set()


def load_plugins() -> None:
    """Import every package that registers itself through the entry-point group `harness.plugins` (once)."""
    for entry in entry_points(group=PLUGIN_GROUP):
        if entry.value not in _loaded:
            _loaded.add(entry.value)
            entry.load()
