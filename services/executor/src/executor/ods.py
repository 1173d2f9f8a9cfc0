"""Send what was made to an Ed-Fi data store with lightbeam.

The config is ours: the bundle's own `lightbeam.yaml` may name Ed-Fi namespaces and the API's mode, never an
address, a certificate rule or a folder, since the ODS's credentials come along.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from executor.failures import RunFailed
from executor.orders import LIGHTBEAM
from executor.programs import Programs
from executor.work_order import Ods
from executor_sdk.errors import AUTH, CLIENT, CONNECTION

ALL_SKIPPED, FAILED = 99, 1
_TAKEN_OVER = ("namespace", "namespace_overrides")
_MODES = frozenset({"shared_instance", "sandbox", "district_specific", "year_specific"})
_MOST_ERRORS = 10
_ASSOCIATIONS = "studentEducationOrganizationAssociations"
_IDS = "educationOrganizationReference,studentReference,studentIdentificationCodes"
_REFUSED = re.compile(r"Unable to load \w+ for \w+\.\.\. (?P<status>\d{3}) API response")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What the ODS made of it."""

    processed: int
    failed: int
    errors: tuple[Mapping[str, Any], ...]

    @property
    def is_success(self) -> bool:
        return self.processed > 0 and self.failed == 0

    def summary(self) -> dict[str, Any]:
        return {
            "records": self.processed,
            "failed": self.failed,
            "errors": [dict(each) for each in self.errors],
        }


def write_config(path: Path, bundle_folder: Path, data: Path, ods: Ods) -> None:
    """Write lightbeam's config; credentials stand in it as `${…}` and come as parameters."""
    own = _own(bundle_folder)
    asked = (own.get("edfi_api") or {}).get("mode")
    mode = asked if asked in _MODES else "shared_instance"
    config = {name: own[name] for name in _TAKEN_OVER if own.get(name)} | {
        "data_dir": str(data),
        "edfi_api": {
            "base_url": "${EDFI_API_BASE_URL}",
            "oauth_url": "${EDFI_API_TOKEN_URL}" if ods.token_url else "",
            "version": 3,
            "mode": mode if ods.api_year else "shared_instance",
            "year": "${EDFI_API_YEAR}",
            "client_id": "${EDFI_API_CLIENT_ID}",
            "client_secret": "${EDFI_API_CLIENT_SECRET}",
        },
        "connection": {
            "pool_size": 8,
            "timeout": 60,
            "num_retries": 5,
            "backoff_factor": 1.5,
            "retry_statuses": [429, 500, 502, 503, 504],
            "verify_ssl": True,
        },
        "fetch": {"page_size": 500},  # the most an Ed-Fi API gives at once unless told otherwise
        "log_level": "INFO",
        "show_stacktrace": False,
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def arguments(config: Path, results: Path, ods: Ods) -> list[str]:
    """lightbeam's arguments; they reach it inside the child and stand on no command line."""
    return ["send", *_access(config, ods), "--results-file", str(results)]


def _access(config: Path, ods: Ods) -> list[str]:
    params = {
        "EDFI_API_BASE_URL": ods.url,
        "EDFI_API_TOKEN_URL": ods.token_url,
        "EDFI_API_YEAR": ods.api_year,
        "EDFI_API_CLIENT_ID": ods.client_id,
        "EDFI_API_CLIENT_SECRET": ods.client_secret,
    }
    return ["-c", str(config), "--params", json.dumps(params)]


def fetch_roster(ods: Ods, programs: Programs, folder: Path, bundle_folder: Path) -> Path:
    """Fetch the ids of the ODS's students into `folder`; raises RunFailed when it does not give them.

    lightbeam would ask again for ever when the ODS refuses: the first refusal ends it.
    """
    config, came = folder / "lightbeam.yaml", folder / f"{_ASSOCIATIONS}.jsonl"
    write_config(config, bundle_folder, folder, ods)
    arguments = ["fetch", *_access(config, ods), "-s", _ASSOCIATIONS, "-k", _IDS]
    tail, ended = programs.run(LIGHTBEAM, arguments, _stop_when_refused)
    if ended.exit_code != 0:
        broken = programs.broken(tail, ended)
        if broken.failure.code == "bundle_failed":
            sentence = "Reading the roster from the ODS broke off. The run will be tried again."
            raise RunFailed("ods_failed", sentence, CONNECTION)
        raise broken
    if not came.is_file():
        raise RunFailed("no_roster", "The ODS has no students to match with.", CLIENT)
    return came


def _stop_when_refused(line: str) -> None:
    refused = _REFUSED.search(line)
    if refused is None:
        return
    if refused["status"] in ("401", "403"):
        raise RunFailed("ods_refused", "The ODS does not let us read its students.", AUTH)
    sentence = f"The ODS answered {refused['status']} when asked for its students."
    raise RunFailed("ods_unreachable", sentence, CONNECTION)


def read_results(results: Path) -> Sent | None:
    """Read lightbeam's own account; None when it did not come to writing one."""
    try:
        resources: Mapping[str, Any] = json.loads(results.read_text(encoding="utf-8"))["resources"]
    except (OSError, ValueError, KeyError):
        return None
    errors = [
        _error(name, each) for name, resource in resources.items() for each in resource.get("failures", [])
    ]
    return Sent(
        processed=sum(int(each.get("records_processed", 0)) for each in resources.values()),
        failed=sum(int(each.get("records_failed", 0)) for each in resources.values()),
        errors=tuple(_most_frequent(errors)),
    )


def _error(resource: str, failure: Mapping[str, Any]) -> dict[str, Any]:
    lines: Sequence[int] = failure.get("line_numbers") or []
    message = str(failure.get("message", ""))[:300]
    return {"resource": resource, "status": failure.get("status_code"), "message": message,
            "count": int(failure.get("count", 1)), "first_line": min(lines, default=0)}  # fmt: skip


def _most_frequent(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(errors, key=lambda each: -int(each["count"]))[:_MOST_ERRORS]


def _own(bundle_folder: Path) -> Mapping[str, Any]:
    for name in ("lightbeam.yaml", "lightbeam.yml"):
        path = bundle_folder / name
        if path.is_file():
            try:
                document = yaml.safe_load(path.read_text(encoding="utf-8"))
            except yaml.YAMLError:
                return {}
            return document if isinstance(document, Mapping) else {}
    return {}
