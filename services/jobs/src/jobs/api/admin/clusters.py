"""Executor pools, under the name and the two addresses that clients of other platforms know."""

from flask.typing import ResponseReturnValue
from redis import RedisError

from common.api import Blueprint
from common.database import Unavailable, transaction
from jobs.api.admin import schemas
from jobs.api.admin.acting import READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.engine import pools
from jobs.services import services

blp = Blueprint("clusters", __name__, tag="Administration", refusals=REFUSALS)


@blp.route("/api/v1/clusters", methods=["GET"])
@blp.route("/v1/k8s/clusters", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.ClusterItem(many=True))
def list_clusters() -> ResponseReturnValue:
    """List the executor pools: who serves them, and how many runs wait."""
    try:
        live = services().live_executors()
    except RedisError as error:
        raise Unavailable(str(error)) from error
    with transaction(services().engine) as connection:
        found = pools.census(connection, live)
    return answer(
        [
            {
                "name": pool.name,
                "size": pool.size,
                "liveExecutors": pool.live_executors,
                "queueDepth": pool.queue_depth,
            }
            for pool in found
        ]
    )
