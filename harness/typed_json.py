"""Frozen dataclasses to JSON values and back, strictly: a missing, unknown or mistyped field is named by its path."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from harness.errors import DataError

__all__ = ["from_plain", "to_plain"]

T = TypeVar("T")

#: Levels of lists and objects within a field of no declared form.
_DEEPEST = 100

_SCALARS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def to_plain(value: Any) -> Any:
    """Turn dataclasses, mappings, sequences and numpy scalars into JSON values.

    Fields keep their order, mapping keys are sorted, NaN and infinities become None.

    >>> to_plain({"b": (1, 2.5), "a": float("nan")})
    {'a': None, 'b': [1, 2.5]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a path that is not UTF-8 holds lone surrogates
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    return str(value)


def from_plain(kind: type[T], value: Any, *, where: str = "") -> T:
    """Build the dataclass `kind` from JSON values; raises DataError naming the field (`where` is its path so far).

    Fields with a default may be absent; null in a float field is NaN. Types understood: str, int, float, bool, None,
    unions with None, tuple[X, ...], fixed tuples, Mapping[str, X], nested dataclasses, Any.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where or 'the document'}: expected an object, found {_shown(value)}")
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise DataError(f"{_join(where, unknown[0])}: unknown field; expected {', '.join(fields)}")
    hints = get_type_hints(kind)
    made = {}
    for name, field in fields.items():
        if name in value:
            made[name] = _read(hints[name], value[name], _join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise DataError(f"{_join(where, name)}: missing; expected {_named(hints[name])}")
    return kind(**made)


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _shallow(value, where)
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        return _read(next(argument for argument in arguments if argument is not types.NoneType), value, where)
    if dataclasses.is_dataclass(hint):
        return from_plain(cast(type, hint), value, where=where)
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected an object, found {_shown(value)}")
        return {key: _read(arguments[1], item, _join(where, key)) for key, item in value.items()}
    return _read_scalar(hint, value, where)


def _shallow(value: Any, where: str) -> Any:
    """A value of no declared form, refused where it is nested deeper than those who walk through it could follow."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for each in level if isinstance(each, dict | list) for inner in _inside(each)]
        if not level:
            return value
    raise DataError(f"{where}: is nested deeper than {_DEEPEST} levels")


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _read_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list, found {_shown(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if len(value) != len(arguments):
        raise DataError(f"{where}: expected {len(arguments)} entries, found {len(value)}")
    return tuple(
        _read(each, item, f"{where}[{i}]") for i, (each, item) in enumerate(zip(arguments, value, strict=True))
    )


def _read_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and value is None:
        return math.nan
    if hint is float and type(value) is int:
        return _as_float(value, where)
    if type(value) is not hint:  # bool is an int to isinstance, but not to a reader of a record
        raise DataError(f"{where}: expected {_named(hint)}, found {_shown(value)}")
    return value


def _as_float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise DataError(f"{where}: the number is too large") from None


def _named(hint: Any) -> str:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join("null" if each is types.NoneType else _named(each) for each in get_args(hint))
    return "a list" if get_origin(hint) is tuple else "an object"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
