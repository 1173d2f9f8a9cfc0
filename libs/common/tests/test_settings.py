"""Settings: every variable from NAME or NAME_FILE, every fault at once, no secret in a fault."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.settings import (
    SettingsError,
    keyring,
    load,
    seconds,
    setting,
    url,
    variables,
    whole,
    words,
)

KEY = "ab" * 32


@dataclass(frozen=True, kw_only=True)
class Example:
    place: str = setting("PLACE", "where it is", parse=url)
    keys: Mapping[str, bytes] = setting("KEYS", "what opens it", parse=keyring)
    size: int = setting("SIZE", "how large it is", parse=whole(1, 10), default=5)
    pause: float = setting("PAUSE", "how long to wait", parse=seconds(0.1, 60), default=1.0)
    names: tuple[str, ...] = setting("NAMES", "what it is called", parse=words, default=())


GOOD = {"PLACE": "http://here/", "KEYS": f"k1:{KEY}"}


def faults(environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(Example, environ)
    return error.value.faults


def test_variables_are_read_and_defaults_fill_in() -> None:
    read = load(Example, {**GOOD, "SIZE": "7", "PAUSE": "0.5", "NAMES": " a  b "})
    assert read == Example(
        place="http://here", keys={"k1": bytes.fromhex(KEY)}, size=7, pause=0.5, names=("a", "b")
    )
    assert (load(Example, GOOD).size, load(Example, GOOD).names) == (5, ())


def test_every_missing_and_faulty_variable_is_named_at_once() -> None:
    found = faults({"KEYS": "k1:zz", "SIZE": "11", "PAUSE": "nan"})
    assert [fault.split()[0] for fault in found] == ["PLACE", "KEYS", "SIZE", "PAUSE"]
    assert found[0] == "PLACE is missing (where it is)"


def test_a_required_variable_that_is_empty_is_missing() -> None:
    assert faults({**GOOD, "PLACE": ""}) == ["PLACE is missing (where it is)"]


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"k1:{KEY}\n")
    read = load(Example, {"PLACE": "http://here", "KEYS_FILE": str(tmp_path / "keys")})
    assert read.keys == {"k1": bytes.fromhex(KEY)}


def test_the_variable_wins_over_its_file(tmp_path: Path) -> None:
    assert load(Example, {**GOOD, "PLACE_FILE": str(tmp_path / "absent")}).place == "http://here"


def test_an_unreadable_file_is_a_fault_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("absent", "binary"):
        [fault] = faults({"PLACE": "http://here", "KEYS_FILE": str(tmp_path / name)})
        assert fault.startswith("KEYS_FILE cannot be read: ")


@pytest.mark.parametrize("secret", ["k1:tooshort", f"k1:{KEY[:-2]}", f":{KEY}", f"k1{KEY}", "k1:" + "q" * 64])
def test_a_faulty_secret_is_not_shown(secret: str) -> None:
    [fault] = faults({**GOOD, "KEYS": secret})
    assert secret.partition(":")[2] not in fault or not secret.partition(":")[2]
    assert KEY[:-2] not in fault


@pytest.mark.parametrize("size", ["0", "11", "-1", "1.5", "", "x", "--5", "²", "9" * 5000])
def test_a_number_out_of_bounds_is_a_fault(size: str) -> None:
    if size:
        assert faults({**GOOD, "SIZE": size})[0].startswith("SIZE is faulty")
    else:
        assert load(Example, {**GOOD, "SIZE": size}).size == 5


def test_a_key_ring_keeps_its_order_and_takes_two() -> None:
    assert list(keyring(f"new:{KEY} old:{KEY}")) == ["new", "old"]


def test_the_variables_of_a_class_are_listed_in_order() -> None:
    listed = [(each.name, each.is_required) for each in variables(Example)]
    assert listed == [
        ("PLACE", True), ("KEYS", True), ("SIZE", False), ("PAUSE", False), ("NAMES", False),
    ]  # fmt: skip
