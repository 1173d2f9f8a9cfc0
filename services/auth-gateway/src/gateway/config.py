"""The gateway's settings: the only place that knows its environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.settings import keyring, seconds, setting, url, whole, words
from gateway.addresses import Network, networks


def issuers(text: str) -> tuple[str, ...]:
    """Parse issuer URLs. They are compared as they are written: a slash at the end belongs to the name."""
    for word in words(text):
        url(word)
    return words(text)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the gateway is told. `oauth2_audience` falls back to the public URL."""

    public_url: str = setting("PUBLIC_URL", "the gateway's URL as clients see it", parse=url)
    database_url: str = setting("DATABASE_URL", "PostgreSQL, as the role gateway")
    redis_url: str = setting("REDIS_URL", "Redis or Valkey that counts requests")
    routes_file: str = setting("ROUTES_FILE", "the route table (deploy/gateway/routes.yaml)")
    oauth2_issuers: tuple[str, ...] = setting(
        "OAUTH2_ISSUER", "issuers whose tokens are believed, separated by spaces", parse=issuers, default=()
    )
    oauth2_audience: str = setting(
        "OAUTH2_AUDIENCE", "the audience a token must have; PUBLIC_URL if empty", default=""
    )
    own_issuer: str = setting(
        "ISSUER_URL", "our own issuer among OAUTH2_ISSUER: only its roles are honoured", default=""
    )
    jobs_url: str = setting("JOBS_URL", "the jobs service", parse=url)
    jobs_watch_url: str = setting(
        "JOBS_WATCH_URL", "jobs-watch, which serves live streams; none without it", parse=url, default=""
    )
    outputs_url: str = setting("OUTPUTS_URL", "the outputs service", parse=url)
    issuer_upstream_url: str = setting(
        "ISSUER_UPSTREAM_URL", "our issuer, relayed under /realms and the like", parse=url, default=""
    )
    jobs_signing_key: Mapping[str, bytes] = setting(
        "JOBS_SIGNING_KEY", "signs what goes to jobs and jobs-watch, kid:hex", parse=keyring
    )
    outputs_signing_key: Mapping[str, bytes] = setting(
        "OUTPUTS_SIGNING_KEY", "signs what goes to outputs, kid:hex", parse=keyring
    )
    requests_per_hour: int = setting(
        "REQUESTS_PER_HOUR",
        "the quota of a client, and the usual one of an API key",
        parse=whole(1, 1_000_000_000),
        default=10_000,
    )
    run_requests_per_hour: int = setting(
        "RUN_REQUESTS_PER_HOUR",
        "the quota of a run's executor",
        parse=whole(1, 1_000_000_000),
        default=1_000_000,
    )
    failed_auth_limit: int = setting(
        "FAILED_AUTH_LIMIT",
        "failed logins and bad tokens of an address in ten minutes",
        parse=whole(1, 1_000_000_000),
        default=600,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES",
        "addresses and networks whose X-Forwarded-For is believed, separated by spaces",
        parse=networks,
        default=(),
    )
    client_silence_seconds: float = setting(
        "CLIENT_SILENCE_SECONDS",
        "how long a client may stall while it sends or reads a body",
        parse=seconds(0.5, 600),
        default=30.0,
    )
    log_level: str = setting("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", default="INFO")

    @property
    def audience(self) -> str:
        return self.oauth2_audience or self.public_url

    @property
    def upstreams(self) -> dict[str, str]:
        """The services to forward to; jobs-watch and the issuer only where they run."""
        urls = {
            "jobs": self.jobs_url,
            "jobs-watch": self.jobs_watch_url,
            "outputs": self.outputs_url,
            "issuer": self.issuer_upstream_url,
        }
        return {name: address for name, address in urls.items() if address}


@dataclass(frozen=True, kw_only=True)
class SeedSettings:
    """What `gateway.cli` is told."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, as the role gateway")


@dataclass(frozen=True, kw_only=True)
class MigrationSettings:
    """What `alembic` is told."""

    database_url: str = setting("MIGRATION_DATABASE_URL", "PostgreSQL, as the role gateway_owner")
