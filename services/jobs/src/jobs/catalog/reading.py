"""Read the members of a declaration and collect every fault, each with its place. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobs.catalog.declared import Fault
from jobs.catalog.metadata import VARIABLE

_EXPANSION = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")
_URL = re.compile(r"https?://[A-Za-z0-9._~:/%@!&()*+,;=\[\]-]+")
# JSON clients write as the External API does; each key has one meaning.
_ALIASES = {"school_year": "year", "required_id_match_rate": "match_rate", "bundle": "key"}


def canonical(name: object) -> str:
    """Give the one spelling of a key: `sendsToOds` is `sends_to_ods`."""
    snake = _HUMP.sub(lambda hump: f"_{hump[0].lower()}", str(name))
    return _ALIASES.get(snake, snake)


@dataclass
class Reader:
    """Reads members. Without an environment, credentials stand in the document and nothing is expanded."""

    environ: Mapping[str, str] | None
    faults: list[Fault] = field(default_factory=list)
    _spelled: dict[tuple[str, str], str] = field(default_factory=dict)

    def blame(self, where: str, name: str, sentence: str) -> None:
        """Note that a member is faulty; `sentence` goes on after its name."""
        spelled = self._spelled.get((where, name), name)
        self.faults.append(Fault(sentence=f"{spelled} {sentence}", place=where, member=name))

    def object(self, item: Any, place: str, known: set[str]) -> dict[str, Any] | None:
        """Read an object with its keys in their one spelling; none when it is no object."""
        if not isinstance(item, dict):
            self.faults.append(Fault(sentence="must be an object", place=place))
            return None
        self._spelled |= {(place, canonical(name)): _shown(name) for name in item}
        found = {canonical(name): value for name, value in item.items()}
        for name in (name for name in found if name not in known):
            self.blame(place, name, "is not a key we know")
        return found

    def objects(
        self, parent: dict[str, Any], name: str, where: str, known: set[str]
    ) -> list[tuple[dict[str, Any], str]]:
        """Read a list of objects with the places they stand at; absent means none."""
        items = parent.get(name) or []
        if not isinstance(items, list):
            self.blame(where, name, "must be a list")
            return []
        spelled = ".".join(part for part in (where, name) if part)
        places = [(item, f"{spelled}[{number}]") for number, item in enumerate(items)]
        read = [(self.object(item, place, known), place) for item, place in places]
        return [(item, place) for item, place in read if item is not None]

    def matching(
        self, item: dict[str, Any], name: str, where: str, pattern: re.Pattern[str], hint: str
    ) -> str:
        value = item.get(name)
        written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not pattern.fullmatch(written):
            self.blame(where, name, f"must be {hint}")
        return written

    def text(self, item: dict[str, Any], name: str, where: str) -> str | None:
        """Read a text that may be left out."""
        value = item.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 1000:
            self.blame(where, name, "must be a text of one line")
            return None
        return value

    def flag(self, item: dict[str, Any], name: str, where: str, default: bool) -> bool:
        value = item.get(name, default)
        if not isinstance(value, bool):
            self.blame(where, name, "must be true or false")
            return default
        return value

    def rate(self, item: dict[str, Any], name: str, where: str, default: float) -> float:
        """Read a rate, kept to three decimals."""
        value = item.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.blame(where, name, "must be a number from 0 to 1")
            return default
        return round(float(value), 3)

    def url(self, item: dict[str, Any], name: str, where: str, default: str = "") -> str:
        """Read a URL in which `${NAME}` and `${NAME:-default}` stand for variables of the environment."""
        written = str(item.get(name) or default)
        if self.environ is not None:
            written = _EXPANSION.sub(self._expand, written)
        written = written.rstrip("/")
        if not _is_url(written):
            self.blame(
                where, name, "must be an http:// or https:// URL without credentials, query or fragment"
            )
        return written

    def _expand(self, found: re.Match[str]) -> str:
        return (self.environ or {}).get(found[1]) or found[2] or ""

    def credential(self, item: dict[str, Any], name: str, where: str) -> str | None:
        """Read a credential: from the variable that `<name>_env` names, or as it is written in the document.

        The variable may be given as a file too, by `<variable>_FILE`.
        """
        if self.environ is None:
            return self.text(item, name, where)
        member = f"{name}_env"
        variable = self.matching(item, member, where, VARIABLE, "the name of an environment variable")
        try:
            found = self.environ.get(variable) or _content(self.environ.get(f"{variable}_FILE"))
        except OSError as error:
            self.blame(where, member, f"names {variable}; {variable}_FILE cannot be read: {error.strerror}")
            return ""
        if not found and VARIABLE.fullmatch(variable):
            self.blame(where, member, f"names a variable: {variable} is not set in the environment")
        return found


def _shown(name: object) -> str:
    """Write a key so that it can be shown, whatever it is."""
    return str(name)[:100].encode(errors="replace").decode()


def _content(path: str | None) -> str:
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(_URL.fullmatch(text) and parts.hostname and "@" not in parts.netloc and parts.port != 0)
    except ValueError:
        return False
