"""API keys: list, create, change, delete, and how much they are used."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from common.api import Blueprint, current_principal
from common.clock import rfc3339
from common.database import transaction
from gateway import api_keys, audit, powers
from gateway.api import acting, key_schemas
from gateway.api_keys import ApiKey, BeyondItsMaker, KeyUnknown, Manager, NewKey
from gateway.powers import Powers
from gateway.quotas import HOUR_SECONDS
from gateway.services import services
from gateway.usage import Use

NUMBER = {"in": "path", "name": "key_id", "required": True, "schema": {"type": "integer", "example": 17}}
MISSING = (404, "API key not found", "api-key-not-found")
BEYOND = (403, "A key cannot have what its maker has not: scope admin", "beyond-its-maker")
SHOWN = (409, "The first request with this Idempotency-Key was done", "secret-shown-once")
MANAGES: Mapping[str, Any] = {"any_scope": powers.MAY_WRITE, "or_role": powers.ADMINISTRATOR}
READS: Mapping[str, Any] = {"any_scope": powers.MAY_READ, "or_role": powers.ADMINISTRATOR}

blp = Blueprint("keys", __name__, url_prefix="/api/v1/keys", faulty_status=422, tag="API keys")


@blp.route("", methods=["GET"])
@blp.admits(**READS)
@blp.response(200, key_schemas.KeyListAnswer)
def list_keys() -> Any:
    """List the keys of your application; an administrator sees all."""
    with transaction(services().engine) as connection:
        found = api_keys.listed(connection, _manager(connection))
    return _envelope("API keys", _items(found))


@blp.route("", methods=["POST"])
@blp.admits(**MANAGES)
@blp.repeatable
@blp.arguments(key_schemas.NewKeyBody)
@blp.refuses(*BEYOND)
@blp.refuses(*SHOWN)
@blp.response(201, key_schemas.MadeKeyAnswer)
def create_key(body: dict[str, Any]) -> Any:
    """Create a key, and see its token this once.

    A key has at most what its maker has: scopes, partners, requests an hour, and the life of a key. `read`
    stands for `read:jobs` and `read:jobs:output-files`, `write` for `create:jobs`, `admin` for everything.
    """
    with transaction(services().engine) as connection:
        owner = _manager(connection).owner
        wish = _wish(body, _powers(connection))
        actor = acting.actor()
        key, token = acting.shown_once(
            connection, lambda: api_keys.create(connection, wish, owner, actor.name)
        )
        facts = {"name": key.name, "scopes": list(key.scopes), "partners": list(key.partners)}
        audit.record(connection, actor, "api-key.created", str(key.id), **facts)
    made = {"api_key": _items([key])[0], "token": token, "warning": key_schemas.WARNING}
    return _envelope("API key created", made), {"Cache-Control": "no-store"}


@blp.route("/<key_id>", parameters=[NUMBER], methods=["PUT"])
@blp.admits(**MANAGES)
@blp.arguments(key_schemas.ChangedKeyBody)
@blp.refuses(*MISSING)
@blp.refuses(*BEYOND)
@blp.response(200, key_schemas.KeyAnswer)
def change_key(body: dict[str, Any], key_id: str) -> Any:
    """Rename a key, switch it on or off, or change its scopes or quota; it holds within a second."""
    with transaction(services().engine) as connection:
        key = api_keys.get(connection, _number(key_id), _manager(connection))
        if body.get("active") or {"scopes", "requests_per_hour"} & set(body):
            _require_covered(
                _powers(connection),
                body.get("scopes", key.scopes),
                key.partners,
                body.get("requests_per_hour", key.requests_per_hour),
            )
        changed = api_keys.change(connection, key, body)
        audit.record(connection, acting.actor(), "api-key.changed", str(key.id), **body)
    return _envelope("API key changed", _items([changed])[0])


@blp.route("/<key_id>", parameters=[NUMBER], methods=["DELETE"])
@blp.admits(**MANAGES)
@blp.refuses(*MISSING)
@blp.response(200, key_schemas.KeyDeletedAnswer)
def delete_key(key_id: str) -> Any:
    """Delete a key; nobody comes in with it a second later."""
    with transaction(services().engine) as connection:
        key = api_keys.get(connection, _number(key_id), _manager(connection))
        api_keys.delete(connection, key)
        audit.record(connection, acting.actor(), "api-key.deleted", str(key.id), name=key.name)
    return _envelope("API key deleted", None)


@blp.route("/<key_id>/usage", parameters=[NUMBER], methods=["GET"])
@blp.admits(**READS)
@blp.refuses(*MISSING)
@blp.response(200, key_schemas.KeyUsageAnswer)
def show_key_usage(key_id: str) -> Any:
    """Show how much a key is used."""
    with transaction(services().engine) as connection:
        key = api_keys.get(connection, _number(key_id), _manager(connection))
    [use] = services().usage.of([key])
    item = _item(key, use)
    hour = int(services().clock.now().timestamp()) // HOUR_SECONDS
    shown = {name: item[name] for name in key_schemas.KeyUsage().fields if name in item}
    reset_at = rfc3339(datetime.fromtimestamp((hour + 1) * HOUR_SECONDS, UTC))
    return _envelope("API key usage", shown | {"used_requests": use.used_requests, "reset_at": reset_at})


def _manager(connection: Connection) -> Manager:
    caller = current_principal()
    everyone = powers.ADMINISTRATOR in caller.roles
    return Manager(owner=api_keys.owner_of(connection, caller), everyone=everyone)


def _powers(connection: Connection) -> Powers:
    caller = current_principal()
    own = api_keys.quota_of(connection, caller)
    return Powers.of(caller, own or services().limits.quotas.usual(caller.kind))


def _wish(body: Mapping[str, Any], maker: Powers) -> NewKey:
    """Make what is asked for complete, or raise BeyondItsMaker."""
    usual = services().limits.quotas.usual("api-key")
    quota = body.get("requests_per_hour")
    if quota is None and maker.requests_per_hour < usual:
        quota = maker.requests_per_hour
    partners = body.get("partners", sorted(maker.partners))
    _require_covered(maker, body["scopes"], partners, quota)
    return NewKey(
        name=body["name"],
        scopes=body["scopes"],
        partners=partners,
        requests_per_hour=quota,
        expires_at=_ends_at(body.get("expires_at")),
    )


def _ends_at(wished: datetime | None) -> datetime | None:
    """When a key ends: one that a key makes not after its maker."""
    caller = current_principal()
    if caller.kind != "api-key" or not caller.expires_at:
        return wished
    last = datetime.fromtimestamp(caller.expires_at, UTC)
    if wished and wished > last:
        raise BeyondItsMaker([f"a life beyond {rfc3339(last)}"])
    return wished or last


def _require_covered(
    maker: Powers, scopes: Sequence[str], partners: Sequence[str], quota: int | None
) -> None:
    wanted = quota or services().limits.quotas.usual("api-key")
    if beyond := maker.exceeded_by(scopes, partners, wanted):
        raise BeyondItsMaker(beyond)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise KeyUnknown(text)
    return int(text)


def _items(keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    return [_item(key, use) for key, use in zip(keys, services().usage.of(keys), strict=True)]


def _item(key: ApiKey, use: Use) -> dict[str, Any]:
    quota = key.requests_per_hour or services().limits.quotas.usual("api-key")
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "masked_key": f"rl_{key.prefix}_****",
        "active": key.active,
        "requests_per_hour": quota,
        "remaining_requests": max(0, quota - use.used_requests),
        "total_requests": use.total_requests,
        "created_at": rfc3339(key.created_at),
        "expires_at": _instant(key.expires_at),
        "last_used_at": _instant(use.last_used_at),
    }


def _instant(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _envelope(message: str, data: Any) -> Any:
    return {"success": True, "message": message, "data": data}
