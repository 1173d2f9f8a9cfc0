"""The issuer's settings: the only place that knows its environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.settings import keyring, setting, url, whole, words


def realm_url(text: str) -> str:
    """Parse the issuer's URL, which ends in its realm."""
    address = url(text)
    if not urlsplit(address).path.strip("/"):
        raise ValueError("a URL that ends in the realm's name is expected, like https://host/realms/example")
    return address


def audiences(text: str) -> tuple[str, ...]:
    if not words(text):
        raise ValueError("at least one audience is expected")
    return words(text)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the issuer is told."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, as the role gateway")
    issuer_url: str = setting("ISSUER_URL", "`iss` of every token; ends in the realm's name", parse=realm_url)
    audiences: tuple[str, ...] = setting(
        "ISSUER_AUDIENCE",
        "`aud` of tokens; of several, the first is the default and `audience` may ask for another",
        parse=audiences,
    )
    lifetime_seconds: int = setting(
        "TOKEN_LIFETIME_SECONDS", "how long a token lives", parse=whole(60, 86_400), default=3600
    )
    sealing_keys: Mapping[str, bytes] = setting(
        "SEALING_KEYS", "seal the signing keys at rest, kid:hex; the first seals, all open", parse=keyring
    )
    log_level: str = setting("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", default="INFO")

    @property
    def realm(self) -> str:
        return self.issuer_url.rpartition("/")[2]

    @property
    def origin(self) -> str:
        parts = urlsplit(self.issuer_url)
        return f"{parts.scheme}://{parts.netloc}"
