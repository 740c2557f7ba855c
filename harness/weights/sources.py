"""Where a checkpoint may come from, and what its keys are called there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULT_SOURCES", "MMPOSE", "MMPOSE_0", "OFFICIAL", "KeyMap", "recognise", "strip_wrapper"]


@dataclass(frozen=True)
class KeyMap:
    """How the keys of one source translate to ours: pairs of prefixes (theirs, ours), the first that fits counts.

    A key that no prefix fits keeps its name, and then has to be one of the network's. `wrapper` is the entry of a
    checkpoint that the source's own programs look for, "" for a bare state dict. Where tensors differ by more than
    their names, `unpack` makes of the source's those that the prefixes know, and `pack` the other way.

    >>> MMPOSE.ours("head.final_layer.bias"), MMPOSE.theirs("conv1.weight"), MMPOSE.theirs("final_layer.bias")
    ('final_layer.bias', 'backbone.conv1.weight', 'head.final_layer.bias')
    """

    source: str
    prefixes: tuple[tuple[str, str], ...] = ()
    wrapper: str = "state_dict"
    unpack: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    pack: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def ours(self, key: str) -> str:
        """Their key as the network calls it."""
        for theirs, ours in self.prefixes:
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
        return key

    def theirs(self, key: str) -> str:
        """Our key as the source calls it; the longest of our prefixes counts."""
        fitting = [(theirs, ours) for theirs, ours in self.prefixes if key.startswith(ours)]
        if not fitting:
            return key
        theirs, ours = max(fitting, key=lambda pair: len(pair[1]))
        return theirs + key.removeprefix(ours)

    def fits(self, keys: Iterable[str]) -> bool:
        """Whether each of the source's prefixes occurs among the keys."""
        keys = list(keys)
        return all(any(key.startswith(theirs) for key in keys) for theirs, _ in self.prefixes)


MMPOSE = KeyMap("mmpose 1.x", (("head.final_layer.", "final_layer."), ("backbone.", "")))
MMPOSE_0 = KeyMap("mmpose 0.x", (("keypoint_head.final_layer.", "final_layer."), ("backbone.", "")))
OFFICIAL = KeyMap("official names", wrapper="")

#: Tried in this order; the last fits everything.
DEFAULT_SOURCES = (MMPOSE, MMPOSE_0, OFFICIAL)


def recognise(
    keys: Iterable[str], sources: tuple[KeyMap, ...] = DEFAULT_SOURCES, *, known: Collection[str] = ()
) -> KeyMap:
    """The source that gives most keys a place among the `known` ones; of equal ones the first whose prefixes all occur.

    So a checkpoint of a source that lacks a few tensors is still taken for one of it, and what is missing is named.
    """
    keys, known = list(keys), set(known)
    candidates = sources if OFFICIAL in sources else (*sources, OFFICIAL)
    placed = {source.source: sum(source.ours(key) in known for key in keys) for source in candidates}
    return max(candidates, key=lambda source: (placed[source.source], source.fits(keys)))


def strip_wrapper(key: str, wrapper: str = "module.") -> str:
    """Take off what DataParallel wraps around names, however often it did.

    >>> strip_wrapper("module.module.conv1.weight")
    'conv1.weight'
    """
    while key.startswith(wrapper):
        key = key.removeprefix(wrapper)
    return key
