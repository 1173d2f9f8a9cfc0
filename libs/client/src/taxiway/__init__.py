"""Taxiway from Python: create jobs, upload their files, wait for them, fetch what they made.

client = Client.connect(
    gateway="https://taxiway.example", issuer="https://id.example/realms/x", client_id="…", secret="…"
)
started = client.submit(
    NewJob(
        partner="ea",
        tenant="ea",
        bundle="assessments/PSAT_SAT",
        school_year="2026",
        files={"INPUT_FILE": Path("results.csv")},
        params={"TEST_TYPE": "SAT"},
    )
)
if client.wait(started.job_uid).status == "completed":
    client.fetch(started.job_uid, Path("out"))
"""

from taxiway.client import Client
from taxiway.errors import (
    NotUnderstood,
    OutOfTime,
    Refused,
    StorageRefused,
    TaxiwayError,
    TokenRefused,
    Unreachable,
)
from taxiway.jobs import NewJob

__all__ = [
    "Client",
    "NewJob",
    "NotUnderstood",
    "OutOfTime",
    "Refused",
    "StorageRefused",
    "TaxiwayError",
    "TokenRefused",
    "Unreachable",
]
