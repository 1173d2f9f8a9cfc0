"""What management reads and answers."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

CLIENT_ID = "nightly-import-5f0c1f6e"
SECRET = "shown once"  # noqa: S105 (an example)
NAME = re.compile("[a-z][-_a-z0-9]*[a-z0-9]")
CODE = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
EVERYTHING, PARTNER = "everything", "partner"
SCOPE_TYPES = (EVERYTHING, PARTNER, "project")  # a partner is what other platforms call a project


def check_name(text: str) -> None:
    """Raise ValidationError for what cannot be the name of an application."""
    if not NAME.fullmatch(text):
        raise ValidationError("name must be a-z, 0-9, - and _, a letter first, no - or _ last")


def check_code(text: str) -> None:
    """Raise ValidationError for what cannot be the code of a partner."""
    if not CODE.fullmatch(text):
        raise ValidationError("a partner's code is 1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit first")


class Input(Schema):
    """A body; members we do not know are ignored."""

    class Meta:
        unknown = EXCLUDE


class NewApplication(Input):
    """A client application to be."""

    name = fields.Str(
        required=True,
        validate=[check_name, validate.Length(max=64)],
        metadata={"example": "nightly-import", "pattern": f"^{NAME.pattern}$"},
    )


class Enabling(Input):
    """Whether an application may log in."""

    enabled = fields.Bool(required=True, truthy={True}, falsy={False})


class Application(Schema):
    """A client application, without its secret."""

    id = fields.Str(required=True, metadata={"example": "17"})
    name = fields.Str(required=True, metadata={"example": "nightly-import"})
    client_id = fields.Str(required=True, data_key="clientId", metadata={"example": CLIENT_ID})
    enabled = fields.Bool(required=True)
    created_by = fields.Str(required=True, data_key="createdBy", metadata={"example": "client:taxiway-admin"})
    created_at = fields.Str(required=True, data_key="createdAt", metadata={"format": "date-time"})
    updated_at = fields.Str(required=True, data_key="updatedAt", metadata={"format": "date-time"})


class Made(Schema):
    """An application and its secret, shown this once."""

    id = fields.Str(required=True, metadata={"example": "17"})
    name = fields.Str(required=True, metadata={"example": "nightly-import"})
    client_id = fields.Str(required=True, data_key="clientId", metadata={"example": CLIENT_ID})


class MadeApplication(Made):
    """A client application and its secret, shown this once."""

    secret = fields.Str(required=True, metadata={"example": SECRET})


class MadeServiceAccount(Made):
    """A service account and its secret, shown this once."""

    secret = fields.Str(required=True, data_key="clientSecret", metadata={"example": SECRET})


class Role(Schema):
    """What an administrator may give."""

    id = fields.Int(required=True, metadata={"example": 1})
    name = fields.Str(required=True, metadata={"example": "Researcher"})
    permissions = fields.List(fields.Str(), required=True, metadata={"example": ["jobs:create", "jobs:read"]})


class NewRule(Input):
    """An access rule to be: this application has this role there."""

    subject_id = fields.Str(
        required=True, data_key="subjectId",
        metadata={"example": CLIENT_ID, "description": "the application's `clientId` or `id`"},
    )  # fmt: skip
    role_id = fields.Int(required=True, strict=True, data_key="roleId", metadata={"example": 1})
    scope_type = fields.Str(
        required=True, data_key="scopeType", validate=validate.OneOf(SCOPE_TYPES),
        metadata={"example": PARTNER, "description": "`project` is another word for `partner`"},
    )  # fmt: skip
    scope_id = fields.Str(
        load_default="", data_key="scopeId",
        metadata={"example": "ea", "description": "the partner's code; nothing for `everything`"},
    )  # fmt: skip


class AccessRule(Schema):
    """An application has a role, for one partner or for everything."""

    id = fields.Int(required=True, metadata={"example": 5})
    subject_id = fields.Str(required=True, data_key="subjectId", metadata={"example": CLIENT_ID})
    subject_type = fields.Str(required=True, data_key="subjectType", metadata={"example": "app"})
    role_id = fields.Int(required=True, data_key="roleId", metadata={"example": 1})
    role_name = fields.Str(required=True, data_key="roleName", metadata={"example": "Researcher"})
    scope_type = fields.Str(required=True, data_key="scopeType", metadata={"example": PARTNER})
    scope_id = fields.Str(required=True, data_key="scopeId", metadata={"example": "ea"})
    created_by = fields.Str(required=True, data_key="createdBy", metadata={"example": "client:taxiway-admin"})
    created_at = fields.Str(required=True, data_key="createdAt", metadata={"format": "date-time"})


class AccessRules(Schema):
    """A page of access rules: how many there are, how many are here."""

    total = fields.Int(required=True, data_key="totalRecords", metadata={"example": 1})
    displayed = fields.Int(required=True, data_key="displayRecords", metadata={"example": 1})
    rules = fields.List(fields.Nested(AccessRule), required=True, data_key="accessRules")


class Rights(Input):
    """Roles, and the partners for which those that can be are given; without partners for everything."""

    roles = fields.List(fields.Str(), load_default=list, metadata={"example": ["Researcher"]})
    partners = fields.List(
        fields.Str(validate=check_code), load_default=list, data_key="permittedPartners",
        metadata={"example": ["ea"]},
    )  # fmt: skip

    @pre_load
    def projects_are_partners(self, document: Any, **_: Any) -> Any:
        """Read `permittedProjects`, as clients of other platforms write it."""
        if isinstance(document, Mapping) and "permittedProjects" in document:
            return {"permittedPartners": document["permittedProjects"], **document}
        return document


class NewOlderApplication(NewApplication, Rights):
    """A client application to be, with its rights."""


class OlderRights(Rights):
    """The rights an application is to have from now on."""

    enabled = fields.Bool(load_default=True, truthy={True}, falsy={False})


class OlderApplication(Application):
    """A client application with its rights."""

    roles = fields.List(fields.Str(), required=True, metadata={"example": ["Researcher"]})
    partners = fields.List(
        fields.Str(), required=True, data_key="permittedPartners", metadata={"example": ["ea"]}
    )


class MadeOlderApplication(OlderApplication):
    """A client application with its rights and its secret, shown this once."""

    secret = fields.Str(required=True, metadata={"example": SECRET})
