"""Sound files of every format and seeded ways to spoil them: bytes for any format, values for JSON."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 4_000_000_000, 10**40, 1e308, float("nan"), float("inf"), "", "../../etc/passwd", "a\0b",
    "Zoë 骨", "\ud800", [], {}, [[[[]]]], [None], {"a": {"b": []}}, "x" * 5000,
)  # fmt: skip


def spoiled_bytes(data: bytes, chance: random.Random) -> bytes:
    """The file cut short, emptied, zeroed in places, bit-flipped, repeated, or with foreign bytes in it."""
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes(chance.randrange(64)) + data[at:]
    if kind == 2:
        return data[:at] + chance.randbytes(8) + data[at + 8 :]
    if kind == 3:
        return data[:at] + bytes(16) + data[at + 16 :]
    if kind == 4:
        return data[:at] + b"[" * 5000 + data[at:]
    spoiled = bytearray(data)
    for _ in range(chance.randrange(1, 8)):
        spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
    return bytes(spoiled)


def spoiled_json(document: Any, chance: random.Random) -> bytes:
    """One to three values of the document replaced, removed or doubled."""
    changed = copy.deepcopy(document)
    for _ in range(chance.randrange(1, 4)):
        places = list(_places(changed))
        if not places:
            break
        holder, key = chance.choice(places)
        kind = chance.randrange(4)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
    return json.dumps(changed).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)


def mutated(data: bytes, document: Any, chance: random.Random) -> bytes:
    """By value twice as often as by byte where the format is JSON."""
    by_value = document is not None and chance.random() < 0.67
    return spoiled_json(document, chance) if by_value else spoiled_bytes(data, chance)
