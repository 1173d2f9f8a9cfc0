"""What those who watch the run of a job see of it."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from common.database import transaction
from jobs.engine import leases, turns


def test_a_run_of_a_job_that_sends_shows_no_secret_and_no_url(
    door: Any, uploaded: Any, engine: Engine, rows: Any
) -> None:
    job = uploaded(schoolYear="2027")
    run = door.post(f"/api/v1/jobs/{job}/start").get_json()["runUid"]
    rows("UPDATE run SET pool = 'sending' WHERE id = :run", run=run)
    with transaction(engine) as connection:
        [given] = turns.dequeue(connection, "sending", 8)
        leases.claim(connection, UUID(run), given.lease, uuid4(), "executor-1")
    shown = door.get(f"/v1/runs/{run}")
    assert (shown.get_json()["status"], shown.get_json()["payload"]) == ("executing", {})
    parts = ("", "/history", "/events", "/logs", "/checkpoints", "/outputs", "/children", "/usage")
    for target in (f"?partner=ea&job={job}", *(f"/{run}{part}" for part in parts)):
        answer = door.get(f"/v1/runs{target}")
        assert answer.status_code == 200, answer.text
        for hidden in ("ods-secret-value", "ods-client", "://", "X-Amz", "inputs/ea"):
            assert hidden not in answer.text, target
