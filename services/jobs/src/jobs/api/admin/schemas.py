"""What the admin API says in OpenAPI.

Bodies are read by catalog.declarations: its sentences are the contract.
"""

from marshmallow import Schema, fields


class NamedBody(Schema):
    """A name; without one it stays, and begins as the code."""

    name = fields.Str(metadata={"example": "Education Agency"})


class TenantItem(Schema):
    """A tenant of a partner."""

    code = fields.Str(required=True)
    name = fields.Str(required=True)


class YearBody(Schema):
    """What a partner does in a school year."""

    enabled = fields.Bool(load_default=True)
    sendsToOds = fields.Bool(load_default=False)  # noqa: N815
    needsRoster = fields.Bool(  # noqa: N815
        load_default=True, metadata={"description": "refuse matched bundles while there is no roster"}
    )
    requiredIdMatchRate = fields.Float(load_default=0.5, metadata={"minimum": 0, "maximum": 1})  # noqa: N815


class YearItem(YearBody):
    """A school year of a partner, named by the year it ends in."""

    schoolYear = fields.Str(required=True)  # noqa: N815


class BundleBody(Schema):
    """How a bundle runs for a partner; null means as it was imported."""

    mode = fields.Str(allow_none=True, metadata={"enum": ["direct", "matched", None]})
    studentIdName = fields.Str(  # noqa: N815
        allow_none=True, metadata={"description": "the input's column that holds the id"}
    )


class BundleItem(BundleBody):
    """A bundle a partner may use, imported or not."""

    bundle = fields.Str(required=True)


class OdsBody(Schema):
    """A connection. The secret is needed for a new one and when its URL or token URL changes."""

    url = fields.Url(required=True)
    tokenUrl = fields.Url(metadata={"description": "`<url>/oauth/token` if not given"})  # noqa: N815
    clientId = fields.Str()  # noqa: N815
    clientSecret = fields.Str(metadata={"writeOnly": True})  # noqa: N815


class OdsItem(Schema):
    """The live connection of a tenant in a school year; its secret is never shown."""

    tenant = fields.Str(required=True)
    schoolYear = fields.Str(required=True)  # noqa: N815
    url = fields.Url(required=True)
    tokenUrl = fields.Url(required=True)  # noqa: N815
    clientId = fields.Str(required=True)  # noqa: N815


class OdsStep(Schema):
    """One call of a check and how it went."""

    step = fields.Str(required=True, metadata={"enum": ["discovery", "token"]})
    url = fields.Url(required=True)
    passed = fields.Bool(required=True)
    message = fields.Str(required=True)


class OdsChecked(Schema):
    """Whether a connection works, and what does not."""

    passed = fields.Bool(required=True)
    steps = fields.List(fields.Nested(OdsStep), required=True)


class PartnerItem(Schema):
    """A partner in a list."""

    code = fields.Str(required=True)
    name = fields.Str(required=True)


class PartnerDocument(PartnerItem):
    """A partner with its parts; it may be sent back as a declaration."""

    tenants = fields.List(fields.Nested(TenantItem), required=True)
    schoolYears = fields.List(fields.Nested(YearItem), required=True)  # noqa: N815
    bundles = fields.List(fields.Nested(BundleItem), required=True)
    ods = fields.List(fields.Nested(OdsItem), required=True)


class RosterItem(Schema):
    """A roster: where it belongs and how large it is. `students` is told when it is put."""

    tenant = fields.Str(required=True)
    schoolYear = fields.Str(required=True)  # noqa: N815
    sha256 = fields.Str(required=True)
    sizeBytes = fields.Int(required=True)  # noqa: N815
    createdAt = fields.Str(required=True)  # noqa: N815
    students = fields.Int()


class RosterUpload(Schema):
    """Where to PUT a roster within an hour; then register it by its uid."""

    uploadUid = fields.UUID(required=True)  # noqa: N815
    uploadUrl = fields.Url(required=True)  # noqa: N815


class MappingItem(Schema):
    """A descriptor mapping the bundle lists; `sha256` is null while the bundle's own file is used."""

    name = fields.Str(required=True)
    sha256 = fields.Str(required=True, allow_none=True)


class DeclarationBody(Schema):
    """What a provisioning file says, with credentials in it: see the README of jobs."""

    partners = fields.List(fields.Dict(), required=True)


class ChangeItem(Schema):
    """One line of the plan."""

    action = fields.Str(required=True, metadata={"example": "tenant.added"})
    subject = fields.Str(required=True, metadata={"example": "ea/ea"})
    message = fields.Str(required=True)


class Provisioned(Schema):
    """The plan, and whether it was made so."""

    applied = fields.Bool(required=True)
    changes = fields.List(fields.Nested(ChangeItem), required=True)


class AuditItem(Schema):
    """Who did what, when and from where."""

    id = fields.Int(required=True)
    at = fields.Str(required=True)
    actor = fields.Str(required=True)
    action = fields.Str(required=True)
    subject = fields.Str(required=True)
    data = fields.Dict(required=True)


class AuditPage(Schema):
    """A page of the audit; `next` is the cursor of the page after it, null at the end."""

    items = fields.List(fields.Nested(AuditItem), required=True)
    next = fields.Str(required=True, allow_none=True)


class ClusterItem(Schema):
    """An executor pool. `size`: executors that are live or at work; `queueDepth`: runs not yet claimed."""

    name = fields.Str(required=True, metadata={"example": "default"})
    size = fields.Int(required=True, metadata={"example": 2})
    liveExecutors = fields.Int(required=True, metadata={"example": 2})  # noqa: N815
    queueDepth = fields.Int(required=True, metadata={"example": 0})  # noqa: N815
