"""The error table: which problem each of our errors is to a caller."""

from collections.abc import Callable, Mapping
from typing import Any

from common.problems import Problem, bad_request, conflict, gone, not_found, unauthorized
from jobs.assessments.jobs import (
    CallerCannotSend,
    FilesNotFound,
    JobNotFound,
    JobNotRunning,
    JobStarted,
)
from jobs.assessments.rules import Refused
from jobs.assessments.shape import ShapeFaults
from jobs.catalog.declared import DeclarationFaulty
from jobs.catalog.mappings import MappingFaulty, MappingNotListed
from jobs.catalog.provisioning import CredentialsMissing, TenantMissing
from jobs.catalog.rosters import PlaceUnknown, RosterFaulty
from jobs.deliveries.webhooks import TooManyWebhooks, WebhookNotFound
from jobs.engine.family import CannotReplay, TooDeep
from jobs.engine.fence import (
    CancelRequested,
    ClaimRefused,
    LeaseIsStale,
    RunIsFinal,
    RunIsNotExecuting,
    RunNotFound,
)
from jobs.engine.journal import BudgetSpent
from jobs.engine.line import JobInProgress
from jobs.engine.memory import CheckpointNotKept
from jobs.engine.outputs import TooManyOutputs
from jobs.engine.schemas import SchemaUnusable, ValueBreaksSchema
from jobs.engine.signals import KeyIsWaitedFor

FORBIDDEN_BY = ("missing-client-claim", "invalid-partner")


def _refused(error: Refused) -> Problem:
    details = {error.field: [str(error)]} if error.field else {}
    status = 403 if error.rule in FORBIDDEN_BY else 400
    return Problem(status=status, detail=str(error), type=error.rule, details=details)


def _files_not_found(error: FilesNotFound) -> Problem:
    return bad_request(str(error), "files-not-found", {key: [fault] for key, fault in error.missing.items()})


def _declaration_faulty(error: DeclarationFaulty) -> Problem:
    details: dict[str, list[str]] = {}
    for fault in error.faults:
        details.setdefault(fault.path or "body", []).append(fault.sentence)
    return bad_request("; ".join(map(str, error.faults)), "invalid-declaration", details)


def _place_unknown(error: PlaceUnknown) -> Problem:
    return Problem(status=404, detail=str(error), type=error.rule, details={error.field: [str(error)]})


PROBLEMS: Mapping[type[Exception], Callable[[Any], Problem]] = {
    ShapeFaults: lambda error: bad_request(str(error), "invalid-input", error.details),
    Refused: _refused,
    JobNotFound: lambda error: not_found(str(error), "job-not-found"),
    FilesNotFound: _files_not_found,
    JobInProgress: lambda error: bad_request(str(error), "job-in-progress"),
    CallerCannotSend: lambda error: bad_request(str(error), "caller-cannot-send"),
    JobStarted: lambda error: conflict(str(error), "job-started"),
    JobNotRunning: lambda error: conflict(str(error), "job-not-running"),
    RunNotFound: lambda error: not_found(str(error), "run-not-found"),
    RunIsFinal: lambda error: gone(str(error), "run-is-final"),
    LeaseIsStale: lambda error: unauthorized(str(error)),
    RunIsNotExecuting: lambda error: conflict(str(error), "run-not-executing"),
    DeclarationFaulty: _declaration_faulty,
    TenantMissing: lambda error: bad_request(str(error), "tenant-not-found"),
    CredentialsMissing: lambda error: bad_request(str(error), "credentials-missing"),
    RosterFaulty: lambda error: bad_request(
        "The roster is not usable", "roster-faulty", {"roster": error.faults}
    ),
    PlaceUnknown: _place_unknown,
    MappingFaulty: lambda error: bad_request(str(error), "mapping-faulty"),
    MappingNotListed: lambda error: bad_request(str(error), "mapping-not-listed", {"file": [str(error)]}),
    BudgetSpent: lambda error: Problem(status=429, detail=str(error), type="budget-spent"),
    TooManyOutputs: lambda error: bad_request(str(error), "limit-exceeded"),
    SchemaUnusable: lambda error: bad_request(str(error), "schema-unusable", {"schema": [str(error)]}),
    ValueBreaksSchema: lambda error: bad_request(str(error), "value-breaks-schema", {"value": [str(error)]}),
    WebhookNotFound: lambda error: not_found(str(error), "webhook-not-found"),
    TooManyWebhooks: lambda error: bad_request(str(error), "too-many-webhooks"),
    KeyIsWaitedFor: lambda error: conflict(str(error), "event-key-taken"),
    ClaimRefused: lambda error: conflict(str(error), "claim-refused"),
    CancelRequested: lambda error: conflict(str(error), "cancel-requested"),
    TooDeep: lambda error: bad_request(str(error), "limit-exceeded"),
    CannotReplay: lambda error: conflict(str(error), "cannot-replay"),
    CheckpointNotKept: lambda error: not_found(str(error), "checkpoint-not-found"),
}
