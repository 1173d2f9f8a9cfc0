"""Read frozen dataclasses from JSON and write them back: `school_year` here is `schoolYear` there.

Members a class does not know are passed over, so that a newer server does not break an older client.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from taxiway.errors import NotUnderstood

T = TypeVar("T")


def read(kind: type[T], document: object) -> T:
    """Read a dataclass from a JSON object. Raises NotUnderstood, naming the member at fault."""
    if not isinstance(document, Mapping):
        raise NotUnderstood(f"The answer is not a {kind.__name__}")
    hints, values = get_type_hints(kind), {}
    for each in fields(kind):  # type: ignore[arg-type]  # every caller's kind is a dataclass
        name = camel(each.name)
        if name in document:
            values[each.name] = _value(hints[each.name], document[name], f"{kind.__name__}.{name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise NotUnderstood(f"The answer has no {kind.__name__}.{name}")
    return kind(**values)


def read_list(kind: type[T], document: object) -> tuple[T, ...]:
    """Read a JSON array of one kind. Raises NotUnderstood."""
    if not isinstance(document, list):
        raise NotUnderstood(f"The answer is not a list of {kind.__name__}")
    return tuple(read(kind, each) for each in document)


def write(value: Any) -> Any:
    """Write a value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {camel(each.name): write(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): write(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [write(each) for each in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def camel(name: str) -> str:
    """Turn a name of Python into one of the wire."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _value(hint: Any, value: Any, place: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is UnionType:
        return None if value is None else _value(inner[0], value, place)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(inner[0], each, place) for each in value)
    if origin is not None:
        return _expect(value, Mapping if origin is not tuple else list, place)
    if isinstance(hint, type) and is_dataclass(hint):
        return read(hint, value)
    if hint is datetime:
        return _instant(value, place)
    return _expect(value, (int, float) if hint is float else hint, place)


def _instant(value: Any, place: str) -> datetime:
    try:
        return datetime.fromisoformat(_expect(value, str, place))
    except ValueError:
        raise NotUnderstood(f"{place} is no time: {value}") from None


def _expect(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, kind):
        raise NotUnderstood(f"{place} is a {type(value).__name__}, which was not expected")
    return value
