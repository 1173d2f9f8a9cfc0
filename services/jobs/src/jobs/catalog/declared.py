"""What a declaration asks for, as values, and what is wrong with one that cannot be applied."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong, and where: `place` is a path like `partners[0].ods[1]`, `member` a key in it."""

    sentence: str
    place: str = ""
    member: str = ""
    line: int = 0

    def __str__(self) -> str:
        parts = (f"line {self.line}" if self.line else "", self.place, self.sentence)
        return ": ".join(part for part in parts if part)

    @property
    def path(self) -> str:
        return ".".join(part for part in (self.place, self.member) if part)


class DeclarationFaulty(Exception):
    """A declaration cannot be applied; one Fault for each thing that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(["The file is not usable:", *(f"  - {fault}" for fault in self.faults)]))

    def within(self, place: str) -> "DeclarationFaulty":
        """Tell the same faults as seen from `place`."""
        return DeclarationFaulty(
            replace(fault, place=fault.place.removeprefix(place).removeprefix(".")) for fault in self.faults
        )


@dataclass(frozen=True, kw_only=True)
class DeclaredTenant:
    """A tenant; without a name it keeps the one it has, and begins with its code."""

    code: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeclaredYear:
    """What a partner does in a school year."""

    code: str
    enabled: bool
    sends_to_ods: bool
    needs_roster: bool
    match_rate: float


@dataclass(frozen=True, kw_only=True)
class DeclaredBundle:
    """A bundle a partner may use, and how it runs there if not as it was imported."""

    key: str
    mode: str | None
    student_id_name: str | None


@dataclass(frozen=True, kw_only=True)
class DeclaredOds:
    """An ODS connection; credentials that are not given stay what they are."""

    tenant: str
    year: str
    url: str
    token_url: str
    client_id: str | None
    client_secret: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DeclaredPartner:
    """A partner; without a name it keeps the one it has, and begins with its code."""

    code: str
    name: str | None = None
    tenants: list[DeclaredTenant] = field(default_factory=list)
    years: list[DeclaredYear] = field(default_factory=list)
    bundles: list[DeclaredBundle] = field(default_factory=list)
    ods: list[DeclaredOds] = field(default_factory=list)
