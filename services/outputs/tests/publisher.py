"""A process that publishes for a partner, one outcome after another, for tests that stop and kill it.

Told on the command line: the partner and how many outcomes. Between taking the clock and the commit it prints
the uids of the sets, and waits for a line on standard input or its end.
"""

import os
import sys
from uuid import UUID, uuid4

from sqlalchemy import Engine, text

from common import database
from outputs import publication
from outputs.publication import Labels, Outcome

NAME = "paused-publisher"
ADD_SEALED = text("""
    INSERT INTO output_set (uid, run_id, lease, kind, name, sent_to_ods, sealed_at)
    SELECT gen_random_uuid(), :run_id, 1, 'result', 'set ' || n, false, now() FROM generate_series(1, 2) n
""")


def publish(engine: Engine, partner: str) -> None:
    run_id = uuid4()
    with database.transaction(engine) as connection:
        connection.execute(ADD_SEALED, {"run_id": run_id})
    with database.transaction(engine) as connection:
        recorded = publication.record(connection, outcome(run_id, partner))
        print(*(each["uid"] for each in recorded.answered["sets"]), flush=True)
        sys.stdin.readline()


def outcome(run_id: UUID, partner: str) -> Outcome:
    labels = Labels(job_uid=uuid4(), partner=partner, tenant="t", school_year="2026", bundle="b")
    return Outcome(
        run_id=run_id, lease=1, status="completed", finished_at=None, labels=labels, named=None
    )  # fmt: skip


def main(partner: str, outcomes: str) -> None:
    engine = database.connect(os.environ["DATABASE_URL"], NAME, pool_size=1)
    for _ in range(int(outcomes)):
        publish(engine, partner)


if __name__ == "__main__":
    main(*sys.argv[1:])
