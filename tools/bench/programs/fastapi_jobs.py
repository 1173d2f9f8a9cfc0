"""What a good FastAPI service makes of the same work: pydantic, one asyncpg pool, boto3's presigned URLs.

It writes into tables made like ours, with one statement where ours has one, and asks nobody who is calling.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import boto3
from botocore.config import Config
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

BUCKET = os.environ["S3_BUCKET"]
NEW_JOB = "INSERT INTO bench.job (uid, partner, kind, bundle_version_id, spec) VALUES ($1, $2, 'echo', 1, $3)"
NEW_ASSESSMENT = """
    INSERT INTO bench.assessment (job_uid, tenant, school_year, params, files, mode, sends_to_ods, match_rate)
    VALUES ($1, $2, $3, $4, $5, 'direct', false, 0)
"""
LIVE = "id = $1 AND lease = $2 AND status IN ('executing', 'waiting')"
APPEND = f"""
    WITH live AS (
        UPDATE bench.run SET heartbeat_at = now(), event_seq = event_seq + 1 WHERE {LIVE}
        RETURNING id, event_seq
    )
    INSERT INTO bench.run_event (run_id, seq, type, level, data)
    SELECT id, event_seq, $3, $4, $5 FROM live RETURNING seq, at
"""  # noqa: S608
BEAT = f"UPDATE bench.run SET heartbeat_at = now() WHERE {LIVE} RETURNING cancel_requested_at"  # noqa: S608
SAVE = f"""
    WITH live AS (
        UPDATE bench.run SET heartbeat_at = now(), checkpoint_seq = checkpoint_seq + 1 WHERE {LIVE}
        RETURNING id, lease, checkpoint_seq
    ), old AS (
        DELETE FROM bench.checkpoint USING live WHERE run_id = live.id AND sequence <= checkpoint_seq - 20
    )
    INSERT INTO bench.checkpoint (id, run_id, sequence, lease, source, state)
    SELECT $3, live.id, checkpoint_seq, live.lease, 'sdk', $4 FROM live RETURNING sequence, created_at
"""  # noqa: S608


class NewJob(BaseModel):
    """A job to create."""

    partner: str
    tenant: str
    schoolYear: str  # noqa: N815 (the wire's name)
    bundle: str
    files: dict[str, str]
    params: dict[str, str]


class Line(BaseModel):
    """A line of a run's log."""

    message: str
    level: str = "info"


class Progress(BaseModel):
    """How far a run is."""

    percent: float
    message: str = ""
    step: str | None = None


class State(BaseModel):
    """A state to keep."""

    state: Any


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"])
    signing = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    app.state.s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_URL"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET_KEY"],
        config=signing,
    )
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/jobs", status_code=201)
async def create_job(job: NewJob) -> dict[str, Any]:
    uid = uuid.uuid4()
    spec = json.dumps({"labels": {"tenant": job.tenant, "schoolYear": job.schoolYear, "bundle": job.bundle}})
    async with app.state.pool.acquire() as connection, connection.transaction():
        await connection.execute(NEW_JOB, uid, job.partner, spec)
        files, params = json.dumps(job.files), json.dumps(job.params)
        await connection.execute(NEW_ASSESSMENT, uid, job.tenant, job.schoolYear, params, files)
    urls = {key: presigned(job, uid, key) for key in job.files}
    return {"uid": str(uid), "uploadUrls": urls}


def presigned(job: NewJob, uid: uuid.UUID, key: str) -> str:
    name = f"inputs/{job.partner}/{job.tenant}/{job.schoolYear}/{uid}/{key}/{job.files[key]}"
    url: str = app.state.s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": name}, 3600)
    return url


@app.post("/sdk/v1/runs/{run}/log", status_code=201)
async def log(run: uuid.UUID, line: Line) -> dict[str, Any]:
    return await append(run, "log", line.level, {"message": line.message})


@app.post("/sdk/v1/runs/{run}/progress", status_code=201)
async def progress(run: uuid.UUID, reached: Progress) -> dict[str, Any]:
    return await append(run, "progress", "info", reached.model_dump())


async def append(run: uuid.UUID, type: str, level: str, data: dict[str, Any]) -> dict[str, Any]:
    row = await app.state.pool.fetchrow(APPEND, run, 1, type, level, json.dumps(data))
    if row is None:
        raise HTTPException(410)
    return {"run_id": run, "seq": row["seq"], "type": type, "level": level, "at": row["at"], "data": data}


@app.post("/sdk/v1/runs/{run}/heartbeat")
async def heartbeat(run: uuid.UUID) -> dict[str, Any]:
    row = await app.state.pool.fetchrow(BEAT, run, 1)
    if row is None:
        raise HTTPException(410)
    return {"status": "ok", "cancel_requested": row["cancel_requested_at"] is not None}


@app.post("/sdk/v1/runs/{run}/checkpoint", status_code=201)
async def checkpoint(run: uuid.UUID, body: State) -> dict[str, Any]:
    row = await app.state.pool.fetchrow(SAVE, run, 1, uuid.uuid4(), json.dumps(body.state))
    if row is None:
        raise HTTPException(410)
    return {"run_id": run, "sequence": row["sequence"], "created_at": row["created_at"], "state": body.state}
