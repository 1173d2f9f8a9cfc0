"""The shapes of bodies, as the OpenAPI document shows them."""

from marshmallow import EXCLUDE, Schema, fields, validate

from outputs.publication import STATUSES
from outputs.sets import REPORT, RESULT


class _Lenient(Schema):
    class Meta:
        unknown = EXCLUDE


class OutputSetSchema(Schema):
    uid = fields.UUID(required=True)
    files = fields.List(fields.String(), required=True)
    sentToOds = fields.Boolean(required=True)  # noqa: N815
    createdAt = fields.DateTime(required=True)  # noqa: N815
    jobUid = fields.UUID(required=True)  # noqa: N815
    partner = fields.String(required=True)
    tenant = fields.String(required=True)
    schoolYear = fields.String(required=True)  # noqa: N815
    bundle = fields.String(required=True)


class DownloadLinksSchema(Schema):
    downloadLinks = fields.Dict(  # noqa: N815
        keys=fields.String(),
        values=fields.Url(),
        required=True,
        metadata={"example": {"studentAssessments.jsonl": "https://files.example/signed"}},
    )


class DeclaredFileSchema(_Lenient):
    name = fields.String(required=True, metadata={"example": "studentAssessments.jsonl"})
    size_bytes = fields.Integer(required=True, strict=True, validate=validate.Range(min=1))
    sha256 = fields.String(required=True, metadata={"description": "64 digits of lower-case hex"})


class NewSetSchema(_Lenient):
    name = fields.String(required=True, metadata={"example": "results"})
    kind = fields.String(load_default=RESULT, validate=validate.OneOf((RESULT, REPORT)))
    files = fields.List(fields.Nested(DeclaredFileSchema), required=True)
    sentToOds = fields.Boolean(load_default=False, truthy={True}, falsy={False})  # noqa: N815


class DeclaredSetSchema(Schema):
    uid = fields.UUID(required=True)
    uploadUrls = fields.Dict(keys=fields.String(), values=fields.Url(), required=True)  # noqa: N815
    uploadHeaders = fields.Dict(  # noqa: N815
        keys=fields.String(), values=fields.Dict(keys=fields.String(), values=fields.String()), required=True
    )


class SealedSetSchema(Schema):
    uid = fields.UUID(required=True)
    kind = fields.String(required=True)
    name = fields.String(required=True, metadata={"example": "results"})
    status = fields.String(required=True, metadata={"enum": ["sealed"]})


class JobSchema(_Lenient):
    uid = fields.UUID(required=True)
    partner = fields.String(required=True)
    tenant = fields.String(required=True)
    schoolYear = fields.String(required=True)  # noqa: N815
    bundle = fields.String(required=True)


class OutcomeSchema(_Lenient):
    lease = fields.Integer(required=True, strict=True, validate=validate.Range(min=0, max=2**31 - 1))
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    job = fields.Nested(JobSchema, required=True)
    finished_at = fields.AwareDateTime(load_default=None, allow_none=True)
    sets = fields.List(fields.String(), load_default=None, allow_none=True)


class PublishedSetSchema(Schema):
    uid = fields.UUID(required=True)
    kind = fields.String(required=True)
    name = fields.String(required=True)
    published_at = fields.String(required=True)


class AnsweredSchema(Schema):
    sets = fields.List(fields.Nested(PublishedSetSchema), required=True)


class SchoolYearsSchema(_Lenient):
    years = fields.List(fields.String(validate=validate.Regexp(r"[0-9]{4}\Z")), required=True)
