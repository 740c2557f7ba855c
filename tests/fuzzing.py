"""Seeded ways to spoil files: bytes for any format, values for JSON, values and lines for TOML; strongly or lightly."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 4_000_000_000, 10**40, 1e308, float("nan"), float("inf"), "", "../../etc/passwd", "a\0b",
    "Zoë 骨", "\ud800", [], {}, [[[[]]]], [None], {"a": {"b": []}}, "x" * 5000,
)  # fmt: skip

#: What may stand right of the = in TOML; the last two are beyond what Python's integers and recursion take.
LITERALS: tuple[str, ...] = (
    "true", "-1", "0", "4_000_000_000", "1e308", "nan", "inf", '""', '"../../etc/passwd"', '"Zoë 骨"', '"\\u0000"',
    "[]", "{}", "[[[[]]]]", "[1, [2]]", '{a = {b = []}}', "1979-05-27T07:32:00Z", "07:32:00", '"' + "x" * 5000 + '"',
    "", "=", "[", "9" * 5000, "[" * 5000,
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


def touched_json(document: Any, chance: random.Random) -> bytes:
    """One leaf another value of its own kind, or one key that need not be there: what a reader may well take."""
    changed = copy.deepcopy(document)
    leaves = [(holder, key) for holder, key in _places(changed) if not isinstance(holder[key], dict | list)]
    holder, key = chance.choice(leaves)
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int | float):
        holder[key] = chance.choice([value + 1, -value, value + 0.5, 0, value * 1000, 1e-300])
    elif isinstance(value, str):
        holder[key] = chance.choice([value + "x", value.upper(), value[:-1], f"a folder/{value}"])
    if chance.random() < 0.3:
        next(iter(_objects(changed)))[chance.choice(["note", "crowd", "is_labeled"])] = chance.choice(VALUES)
    return json.dumps(changed).encode()


def spoiled_toml(text: str, chance: random.Random) -> bytes:
    """One to three lines with another value, removed, doubled or moved."""
    lines = text.splitlines()
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        kind = chance.randrange(6)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(chance.randrange(len(lines) + 1), lines[at])
        elif "=" in lines[at]:
            lines[at] = f"{lines[at].partition('=')[0]}= {chance.choice(LITERALS)}"
        else:
            lines[at] = chance.choice(["[x]", "[[x]]", f"[{lines[at]}]", f'"" = {chance.choice(LITERALS)}'])
    return "\n".join(lines).encode()


def spoiled_archive(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose header was spoiled as JSON, its length right."""
    length = int.from_bytes(data[:8], "little")
    header = spoiled_json(json.loads(data[8 : 8 + length]), chance)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (holder[key] for holder, key in _places(value) if isinstance(holder[key], dict))
