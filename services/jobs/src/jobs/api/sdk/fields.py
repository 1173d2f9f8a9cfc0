"""Fields that take exactly one JSON type: `"5"` is no number, `1` is no boolean.

Their messages are those marshmallow has for a wrong type, which common.api answers with 400.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from common.problems import bad_request

NOT_A_NUMBER = "Not a valid number."
_KEY = re.compile(r"[^/\\?#%\s\x00-\x1f\x7f-\x9f]+")


class Body(Schema):
    """What the executor sends; fields we do not know are ignored."""

    class Meta:
        unknown = EXCLUDE


class Number(fields.Field[float]):
    """A JSON number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "metadata": {"type": "number", **options.get("metadata", {})}})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError(NOT_A_NUMBER)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValidationError(NOT_A_NUMBER)
        return value


class Whole(fields.Field[int]):
    """A whole JSON number, also written `5.0`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "metadata": {"type": "integer", **options.get("metadata", {})}})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError("Not a valid integer.")
        if isinstance(value, float) and not value.is_integer():
            raise ValidationError("Not a valid integer.")
        return int(value)


class Flag(fields.Field[bool]):
    """`true` or `false`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, metadata={"type": "boolean"})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not a valid boolean.")
        return value


class AnyJson(fields.Field[Any]):
    """Any JSON value. Python also reads `NaN` and `1e999`, which are none and cannot be stored."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValidationError(NOT_A_NUMBER) from None
        return value


class JsonObject(AnyJson):
    """A JSON object with any members."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "metadata": {"type": "object", **options.get("metadata", {})}})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid mapping type.")
        return super()._deserialize(value, attr, data)


def within(minimum: float, maximum: float) -> validate.Range:
    """A range whose breach is a 422, as out of range."""
    return validate.Range(min=minimum, max=maximum)


def at_most(size: int, unit: str, measure: Callable[[Any], int]) -> Callable[[Any], None]:
    """A limit on a count or a size, whose breach is a 400 (executor-api.md §2)."""

    def check(value: Any) -> None:
        if value is not None and measure(value) > size:
            raise bad_request(f"at most {size} {unit} are allowed", "limit-exceeded")

    return check


def size_bytes(text: str) -> int:
    """Measure a text as it is stored."""
    return len(text.encode())


def plain_key(key: str, longest_bytes: int, field: str = "key") -> str:
    """Pass a key on when it can stand in a path, or raise 400."""
    if not _KEY.fullmatch(key) or size_bytes(key) > longest_bytes:
        sentence = f"a key has 1 to {longest_bytes} bytes, no space and none of / \\ ? # %"
        raise bad_request(sentence, "invalid-key", {field: [sentence]})
    return key
