"""Read a process's settings from its environment, once, and name every fault at once.

A service declares a frozen dataclass whose fields are made with `setting()`; `load()` fills it.
A variable `NAME` may also be given as `NAME_FILE`, the path of a file that holds the value, so that
secrets need not stand in the environment.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

Settings = TypeVar("Settings")


class SettingsError(Exception):
    """The environment is incomplete or faulty; `faults` has one sentence a variable."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(["The environment is not usable:", *(f"  - {fault}" for fault in faults)]))


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One environment variable: its name, what it is for, how to read it."""

    name: str
    help: str
    parse: Callable[[str], Any]
    default: Any

    @property
    def is_required(self) -> bool:
        return self.default is MISSING


def setting(name: str, help: str, *, parse: Callable[[str], Any] = str, default: Any = MISSING) -> Any:
    """Declare a dataclass field that is read from the environment variable `name`."""
    variable = Variable(name=name, help=help, parse=parse, default=default)
    return field(metadata={"variable": variable})


def variables(cls: type[Any]) -> list[Variable]:
    """List the environment variables a settings class reads; the README table is tested against it."""
    return [f.metadata["variable"] for f in fields(cls)]


def load(cls: type[Settings], environ: Mapping[str, str]) -> Settings:
    """Build `cls` from the environment, or raise SettingsError naming every missing or faulty variable."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    for each in fields(cls):  # type: ignore[arg-type]
        try:
            values[each.name] = _read(each, environ)
        except (ValueError, OSError) as error:
            faults.append(str(error))
    if faults:
        raise SettingsError(faults)
    return cls(**values)


def _read(each: "Field[Any]", environ: Mapping[str, str]) -> Any:
    variable: Variable = each.metadata["variable"]
    text = _text(variable.name, environ)
    if text is None:
        if variable.is_required:
            raise ValueError(f"{variable.name} is missing ({variable.help})")
        return variable.default
    try:
        return variable.parse(text)
    except ValueError as error:
        raise ValueError(f"{variable.name} is faulty: {error}") from error


def _text(name: str, environ: Mapping[str, str]) -> str | None:
    if name in environ:
        return environ[name] or None
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise ValueError(f"{name}_FILE cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{name}_FILE cannot be read: it is not UTF-8 text") from None


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Parse a whole number within bounds."""

    def parse(text: str) -> int:
        number = int(text) if text.lstrip("-").isdigit() else None
        if number is None or not minimum <= number <= maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum} is expected")
        return number

    return parse


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """Parse a duration in seconds within bounds."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not minimum <= number <= maximum:
            raise ValueError(f"a number of seconds from {minimum:g} to {maximum:g} is expected")
        return number

    return parse


def url(text: str) -> str:
    """Parse an http(s) URL and drop a trailing slash."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("an http:// or https:// URL is expected")
    return text.rstrip("/")


def words(text: str) -> tuple[str, ...]:
    """Parse a list separated by spaces."""
    return tuple(text.split())


def keyring(text: str) -> dict[str, bytes]:
    """Parse `kid:hex` keys separated by spaces: the first one signs, all are accepted."""
    keys: dict[str, bytes] = {}
    for word in text.split():
        kid, _, secret = word.partition(":")
        try:
            keys[kid] = bytes.fromhex(secret)
        except ValueError:
            raise ValueError("keys are written kid:hex") from None
        if not kid or len(keys[kid]) < 32:
            raise ValueError("a key needs a name and at least 32 bytes of hex")
    if not keys:
        raise ValueError("at least one key is expected")
    return keys
