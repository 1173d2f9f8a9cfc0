"""What the API of keys reads and answers."""

from datetime import datetime, timedelta
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates

from gateway import powers
from gateway.services import services

MAX_REQUESTS_PER_HOUR = 1_000_000_000
LONGEST_LIFE = timedelta(days=36_525)
WARNING = "Keep this token now: it is not shown again."
TOKEN = "rl_5f0c1f6e_…"  # noqa: S105 (an example)


class _Words(fields.List[Any]):
    """A list of which repeats are dropped."""

    def _deserialize(self, *args: Any, **kwargs: Any) -> list[Any]:
        return list(dict.fromkeys(super()._deserialize(*args, **kwargs)))


class _Wish(Schema):
    """What creation and change have in common; members we do not know are ignored."""

    class Meta:
        unknown = EXCLUDE

    scopes = _Words(
        fields.Str(validate=validate.OneOf(powers.SCOPES)),
        validate=validate.Length(min=1),
        metadata={"example": ["read"]},
    )
    requests_per_hour = fields.Int(
        strict=True, validate=validate.Range(1, MAX_REQUESTS_PER_HOUR), metadata={"example": 10_000}
    )


class NewKeyBody(_Wish):
    """A key to be. It gets the maker's partners and quota where none are named."""

    name = fields.Str(required=True, validate=validate.Length(1, 200), metadata={"example": "nightly import"})
    scopes = _Words(
        fields.Str(validate=validate.OneOf(powers.SCOPES)),
        required=True,
        validate=validate.Length(min=1),
        metadata={"example": ["read"]},
    )
    partners = _Words(fields.Str(validate=validate.Length(1, 200)), metadata={"example": ["ea"]})
    expires_at = fields.AwareDateTime(
        allow_none=True, format="iso", metadata={"description": "never if not given"}
    )

    @validates("expires_at")
    def _lies_ahead(self, value: datetime | None, **_: Any) -> None:
        now = services().clock.now()
        if value is not None and not now < value <= now + LONGEST_LIFE:
            raise ValidationError("expires_at must lie ahead, at most a hundred years")


class ChangedKeyBody(_Wish):
    """What is to be different."""

    name = fields.Str(validate=validate.Length(1, 200), metadata={"example": "nightly import"})
    active = fields.Bool()


class KeyItem(Schema):
    """A key; its secret is shown once, when it is made."""

    id = fields.Int(required=True, metadata={"example": 17})
    name = fields.Str(required=True, metadata={"example": "nightly import"})
    scopes = fields.List(fields.Str(), required=True, metadata={"example": ["read"]})
    masked_key = fields.Str(required=True, metadata={"example": "rl_5f0c1f6e_****"})
    active = fields.Bool(required=True)
    requests_per_hour = fields.Int(required=True, metadata={"example": 10_000})
    remaining_requests = fields.Int(required=True, metadata={"example": 9_876})
    total_requests = fields.Int(required=True, metadata={"example": 31_415})
    created_at = fields.Str(required=True, metadata={"format": "date-time"})
    expires_at = fields.Str(required=True, allow_none=True, metadata={"format": "date-time"})
    last_used_at = fields.Str(required=True, allow_none=True, metadata={"format": "date-time"})


class MadeKey(Schema):
    """A new key and its token."""

    api_key = fields.Nested(KeyItem, required=True)
    token = fields.Str(required=True, metadata={"example": TOKEN})
    warning = fields.Str(required=True, metadata={"example": WARNING})


class KeyUsage(Schema):
    """How much a key is used: in this hour, and ever."""

    id = fields.Int(required=True, metadata={"example": 17})
    requests_per_hour = fields.Int(required=True, metadata={"example": 10_000})
    used_requests = fields.Int(required=True, metadata={"example": 124, "description": "in this hour"})
    remaining_requests = fields.Int(required=True, metadata={"example": 9_876})
    reset_at = fields.Str(required=True, metadata={"format": "date-time"})
    total_requests = fields.Int(required=True, metadata={"example": 31_415})
    last_used_at = fields.Str(required=True, allow_none=True, metadata={"format": "date-time"})


class _Answer(Schema):
    success = fields.Bool(required=True, metadata={"example": True})
    message = fields.Str(required=True)


class KeyListAnswer(_Answer):
    """Keys, the oldest first."""

    data = fields.List(fields.Nested(KeyItem), required=True)


class KeyAnswer(_Answer):
    """One key."""

    data = fields.Nested(KeyItem, required=True)


class MadeKeyAnswer(_Answer):
    """A new key."""

    data = fields.Nested(MadeKey, required=True)


class KeyUsageAnswer(_Answer):
    """The use of a key."""

    data = fields.Nested(KeyUsage, required=True)


class KeyDeletedAnswer(_Answer):
    """Nothing is left."""

    data = fields.Raw(required=True, allow_none=True, metadata={"description": "always null"})
