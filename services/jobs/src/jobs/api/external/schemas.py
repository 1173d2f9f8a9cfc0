"""What the External API says in OpenAPI.

The body of a job is read by assessments.shape: its sentences are the contract.
"""

from typing import Any

from marshmallow import Schema, fields


class JobBody(Schema):
    """A job to create."""

    partner = fields.Str(required=True, metadata={"example": "ea"})
    tenant = fields.Str(required=True, metadata={"example": "ea"})
    bundle = fields.Str(required=True, metadata={"example": "assessments/PSAT_SAT"})
    schoolYear = fields.Str(required=True, metadata={"example": "2026", "pattern": "^[0-9]{4}$"})  # noqa: N815
    files = fields.Dict(
        keys=fields.Str(),
        values=fields.Str(),
        required=True,
        metadata={"example": {"INPUT_FILE": "results.csv"}},
    )
    params = fields.Dict(keys=fields.Str(), metadata={"example": {"TEST_TYPE": "SAT"}})


class DryRun(Schema):
    """A job that could be created."""

    valid = fields.Bool(required=True)


class StartBody(Schema):
    """How a job is to be run."""

    executor = fields.Str(metadata={"enum": ["caller"], "description": "`caller`: you do the work yourself"})
    tags = fields.List(
        fields.Str(),
        metadata={
            "maxItems": 20,
            "description": "words to find the run by, up to 64 characters each",
            "example": ["nightly"],
        },
    )
    priority = fields.Int(
        metadata={"minimum": 0, "maximum": 10, "description": "5; orders your own runs, higher ones first"}
    )
    concurrencyKey = fields.Str(  # noqa: N815
        metadata={
            "description": "names what not many runs of a partner may use at a time",
            "example": "district-17",
        }
    )
    concurrencyLimit = fields.Int(  # noqa: N815
        metadata={"minimum": 1, "maximum": 1000, "description": "1; how many of the key may be at work"}
    )


class Created(Schema):
    """A created job: PUT each file to its URL, then start the job."""

    uid = fields.UUID(required=True)
    uploadUrls = fields.Dict(keys=fields.Str(), values=fields.Url(), required=True)  # noqa: N815


class UploadUrls(Schema):
    """Fresh URLs, one a file, valid for an hour."""

    uploadUrls = fields.Dict(keys=fields.Str(), values=fields.Url(), required=True)  # noqa: N815


class Started(Schema):
    """The run of a job. `runToken` and `expiresAt` are there when the caller runs it."""

    jobUid = fields.UUID(required=True)  # noqa: N815
    runUid = fields.UUID(required=True)  # noqa: N815
    status = fields.Str(required=True)
    runToken = fields.Str()  # noqa: N815
    expiresAt = fields.Str()  # noqa: N815


class JobFile(Schema):
    """An input of a job."""

    key = fields.Str(required=True)
    name = fields.Str(required=True, metadata={"example": "results.csv"})
    uploaded = fields.Bool(required=True)
    sizeBytes = fields.Int(required=True, allow_none=True)  # noqa: N815


class JobClient(Schema):
    """The client that created a job."""

    issuer = fields.Str(required=True)
    id = fields.Str(required=True, metadata={"example": "runway-api"})
    name = fields.Str(required=True, metadata={"example": "Runway API client"})


class RunError(Schema):
    """Why a run failed."""

    code = fields.Str(required=True, metadata={"example": "invalid-input"})
    message = fields.Str(required=True, metadata={"example": "Row 7 has no student id"})


class Unmatched(Schema):
    """Students of the input that the roster does not know. A failed run has the report, and no numbers."""

    count = fields.Int(
        required=True,
        allow_none=True,
        metadata={"description": "null where the run failed: the report at `downloadUrl` has the rows"},
    )
    rate = fields.Float(required=True, allow_none=True)
    downloadUrl = fields.Str(required=True, allow_none=True)  # noqa: N815


class JobRun(Schema):
    """One execution of a job."""

    uid = fields.UUID(required=True)
    number = fields.Int(required=True)
    status = fields.Str(required=True)
    attempt = fields.Int(required=True)
    step = fields.Str(required=True, allow_none=True)
    percent = fields.Float(required=True, allow_none=True)
    startedAt = fields.Str(required=True, allow_none=True)  # noqa: N815
    finishedAt = fields.Str(required=True, allow_none=True)  # noqa: N815
    error = fields.Nested(RunError, required=True, allow_none=True)
    counts = fields.Dict(keys=fields.Str(), values=fields.Int(), required=True)
    unmatched = fields.Nested(Unmatched, required=True, allow_none=True)
    outputSets = fields.List(fields.UUID(), required=True)  # noqa: N815


class JobSummary(Schema):
    """A job in a list."""

    uid = fields.UUID(required=True)
    partner = fields.Str(required=True)
    tenant = fields.Str(required=True)
    bundle = fields.Str(required=True)
    bundleVersion = fields.Int(required=True)  # noqa: N815
    schoolYear = fields.Str(required=True)  # noqa: N815
    status = fields.Str(required=True)
    createdAt = fields.Str(required=True)  # noqa: N815


class JobDetail(JobSummary):
    """A job with its files and runs."""

    params = fields.Dict(required=True)
    files = fields.List(fields.Nested(JobFile), required=True)
    client = fields.Nested(JobClient, required=True)
    apiInitiated = fields.Bool(required=True)  # noqa: N815
    warnings = fields.List(fields.Str(), required=True)
    runs = fields.List(fields.Nested(JobRun), required=True)


class JobPage(Schema):
    """A page of jobs; `next` is the cursor of the page after it, null at the end."""

    items = fields.List(fields.Nested(JobSummary), required=True)
    next = fields.Str(required=True, allow_none=True)


class BundleFile(Schema):
    """A file a bundle asks for."""

    key = fields.Str(required=True)
    displayName = fields.Str(required=True)  # noqa: N815
    required = fields.Bool(required=True)
    fileTypes = fields.List(fields.Str(), required=True)  # noqa: N815


class BundleParam(Schema):
    """A param a bundle asks for; `allowedValues` empty means any plain value."""

    key = fields.Str(required=True)
    displayName = fields.Str(required=True)  # noqa: N815
    required = fields.Bool(required=True)
    allowedValues = fields.List(fields.Str(), required=True)  # noqa: N815


class BundleDetail(Schema):
    """A bundle a partner may use."""

    bundle = fields.Str(required=True)
    displayName = fields.Str(required=True)  # noqa: N815
    version = fields.Int(required=True)
    files = fields.List(fields.Nested(BundleFile), required=True)
    params = fields.List(fields.Nested(BundleParam), required=True)
    reportResources = fields.List(fields.Str(), required=True)  # noqa: N815
    warnings = fields.List(fields.Str(), required=True)


class TenantDetail(Schema):
    """A tenant of a partner."""

    code = fields.Str(required=True)
    name = fields.Str(required=True)


class YearDetail(Schema):
    """A school year of a partner. `odsTenants`: the tenants whose records have an ODS to go to."""

    schoolYear = fields.Str(required=True)  # noqa: N815
    enabled = fields.Bool(required=True)
    sendsToOds = fields.Bool(required=True)  # noqa: N815
    odsTenants = fields.List(fields.Str(), required=True)  # noqa: N815


class PartnerDetail(Schema):
    """A partner with its tenants and school years."""

    code = fields.Str(required=True)
    name = fields.Str(required=True)
    tenants = fields.List(fields.Nested(TenantDetail), required=True)
    schoolYears = fields.List(fields.Nested(YearDetail), required=True)  # noqa: N815


def body_of(schema: type[Schema], *, required: bool) -> dict[str, Any]:
    """Write the OpenAPI of a body that the view reads itself."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def query(name: str, description: str, *, required: bool = False) -> dict[str, Any]:
    """Write the OpenAPI of a query parameter that the view reads itself."""
    described = {"in": "query", "name": name, "required": required, "description": description}
    return {**described, "schema": {"type": "string"}}
