"""Seeded ways to spoil files: bytes for any format, values for JSON and TOML, columns of tables; more or less."""

import copy
import io
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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


#: Kinds that a column of a table may have, each with what may stand in it.
COLUMNS: dict[Any, tuple[Any, ...]] = {
    pa.int8(): (-1, 0, 3), pa.int32(): (-1, 0, 2**31 - 1), pa.int64(): (0, -(2**63), 2**63 - 1),
    pa.uint64(): (0, 2**63 + 5), pa.float16(): tuple(np.float16([0.5, np.nan])), pa.float32(): (0.5, float("nan")),
    pa.float64(): (1e308, float("inf")), pa.bool_(): (True, False), pa.string(): ("", "x", "000001_mpii_test"),
    pa.binary(): (b"", b"\xff"), pa.timestamp("ns"): (0, 2**40), pa.decimal128(5): (1, 2), pa.null(): (None,),
    pa.dictionary(pa.int8(), pa.string()): ("x", "y"), pa.struct([("x", pa.float64())]): ({"x": 1.0},),
    pa.map_(pa.string(), pa.int64()): ([("x", 1)],),
}  # fmt: skip


def spoiled_table(data: bytes, chance: random.Random) -> bytes:
    """One to three columns of another kind, as single values or lists, with gaps, removed or doubled; or the header."""
    table = pq.read_table(io.BytesIO(data))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(table.num_columns)
        name, kind = table.column_names[at], chance.randrange(8)
        if kind == 0 and table.num_columns > 1:
            table = table.remove_column(at)
        elif kind == 1:
            table = table.append_column(name, table.column(at))
        elif kind == 2:
            (key, header), *_ = table.schema.metadata.items()
            table = table.replace_schema_metadata({key: spoiled_json(json.loads(header), chance)})
        elif kind == 3:
            before = table.column(at).type
            gone = [None if chance.random() < 0.3 else value for value in table.column(at).to_pylist()]
            # lists of a fixed size cannot be written with gaps
            after = pa.list_(before.value_type) if pa.types.is_fixed_size_list(before) else before
            table = table.set_column(at, name, pa.array(gone, type=after))
        else:
            table = table.set_column(at, name, _column(table.column(at).type, len(table), chance))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _column(before: Any, count: int, chance: random.Random) -> Any:
    """A column of any kind; a list as often as not where there was one, of the same length, another or several."""
    kind = chance.choice(list(COLUMNS))
    values = COLUMNS[kind]
    if chance.random() < 0.5:
        return pa.array([chance.choice(values) for _ in range(count)], type=kind)
    width = before.list_size if pa.types.is_fixed_size_list(before) and chance.random() < 0.7 else chance.randrange(5)
    lengths = [width if chance.random() < 0.9 else chance.randrange(40) for _ in range(count)]
    if chance.random() < 0.5:
        return pa.array(
            [[chance.choice(values) for _ in range(width)] for _ in range(count)], type=pa.list_(kind, width)
        )
    return pa.array([[chance.choice(values) for _ in range(each)] for each in lengths], type=pa.list_(kind))


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
