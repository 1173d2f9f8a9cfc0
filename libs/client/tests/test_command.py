"""What the command line says and remembers, without a server."""

import io
import json
from pathlib import Path

import pytest

from taxiway.errors import Problem
from taxiway.shell import main
from taxiway.shell.exits import LIST, UNREACHABLE, USAGE
from taxiway.shell.logins import Login, TokenFile, load_login, save_login
from taxiway.shell.screen import Screen, amount
from taxiway.tokens import Token

LOGIN = Login(gateway="http://127.0.0.1:1", issuer="http://127.0.0.1:1", client_id="me")
PROBLEM = Problem(
    status=400,
    detail="File names must not be empty",
    details={"files": ["File names must not be empty"], "tenant": ["tenant must be a string"]},
    request_id="r-1",
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_a_problem_is_shown_whole_and_once() -> None:
    err = io.StringIO()
    Screen(io.StringIO(), err, as_json=False).wrong("File names must not be empty (400)", PROBLEM)
    assert err.getvalue().splitlines() == [
        "taxiway: File names must not be empty (400)",
        "  tenant: tenant must be a string",
        "  request id: r-1",
    ]


def test_a_problem_for_scripts_is_one_json_line() -> None:
    err = io.StringIO()
    Screen(io.StringIO(), err, as_json=True).wrong("x", PROBLEM)
    assert json.loads(err.getvalue())["requestId"] == "r-1"


def test_a_servers_text_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    Screen(out, io.StringIO(), as_json=False).result(None, "name\x1b[2J\u202e")
    assert out.getvalue() == "name�[2J�\n"


def test_sizes_are_for_people() -> None:
    assert [amount(size) for size in (999, 1000, 27_300_000, 10**16)] == [
        *("999 bytes", "1.0 kB", "27.3 MB", "10000.0 TB")
    ]


def test_a_login_is_remembered_and_variables_win(environment: dict[str, str]) -> None:
    path = save_login(environment, LOGIN)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_login(environment) == LOGIN
    assert load_login({**environment, "TAXIWAY_CLIENT_ID": "you"}).client_id == "you"


def test_a_token_is_kept_for_its_owner_alone(environment: dict[str, str], tmp_path: Path) -> None:
    store = TokenFile(environment, LOGIN)
    assert store.load() is None
    store.save(Token(access_token="t", good_until=1.0))
    [path] = (tmp_path / "cache" / "taxiway").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.load() == Token(access_token="t", good_until=1.0)
    path.chmod(0o644)
    assert store.load() is None


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Token(access_token="secret", good_until=1.0))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["verify"], "You are not logged in"),
        (["login", "--gateway", "here", "--issuer", "http://i", "--client-id", "me"], "no address: here"),
        (
            ["submit", "--bundle", "b", "--year", "2026", "INPUT_FILE"],
            "neither INPUT_FILE=path nor KEY=VALUE",
        ),
        (["submit", "--bundle", "b", "--year", "2026", "A=1", "--wait", "A=2"], "A is given twice"),
    ],
)
def test_a_misuse_is_told_before_anything_is_sent(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(words, environment) == USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["jobs", "--bogus"], ["jobs", "x"], ["jobs", "--limit", "0"]])
def test_a_faulty_command_line_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words, {})
    assert ended.value.code == USAGE


def test_a_secret_that_is_nowhere_is_asked_for_by_name(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    save_login(environment, LOGIN)
    assert main(["verify"], environment) == USAGE
    assert "TAXIWAY_CLIENT_SECRET" in capsys.readouterr().err


def test_the_readme_lists_the_exit_codes() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for line in LIST.splitlines()[1:]:
        code, says = line.split(maxsplit=1)
        assert f"| {code} | {says} |" in readme, line
    assert UNREACHABLE == 4
