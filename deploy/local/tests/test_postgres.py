import psycopg2
import pytest

from stack.testing import Servers


def run(servers: Servers, role: str, statement: str, database: str = "taxiway") -> list[tuple[object, ...]]:
    url = servers.database_url(role, database).replace("+psycopg2", "")
    connection = psycopg2.connect(url, connect_timeout=5)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture(scope="module")
def notes(servers: Servers) -> None:
    run(servers, "jobs_owner", "CREATE TABLE note (id serial PRIMARY KEY, text text)")
    run(servers, "jobs", "INSERT INTO note (text) VALUES ('kept')")


@pytest.mark.usefixtures("notes")
def test_a_service_reads_and_writes_the_tables_its_owner_made(servers: Servers) -> None:
    assert run(servers, "jobs", "SELECT text FROM note") == [("kept",)]


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("outputs", "SELECT * FROM jobs.note"),
        ("outputs_owner", "SELECT * FROM jobs.note"),
        ("gateway", "SELECT * FROM jobs.note"),
        ("jobs", "CREATE TABLE mine (id int)"),
        ("jobs", "CREATE TABLE public.mine (id int)"),
        ("jobs", "DROP TABLE note"),
        ("jobs", "TRUNCATE note"),
        ("jobs_owner", "CREATE TABLE outputs.mine (id int)"),
        ("jobs", "CREATE TEMPORARY TABLE mine (id int)"),
    ],
)
def test_a_role_is_refused_what_is_not_its_own(servers: Servers, role: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(servers, role, statement)


def test_a_wrong_password_is_refused(servers: Servers) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(
            host="127.0.0.1", port=servers.ports.postgres, user="jobs", password="wrong", dbname="taxiway"
        )


@pytest.mark.usefixtures("notes")
def test_a_clone_has_the_data_and_the_privileges_of_its_template(servers: Servers) -> None:
    clone = servers.clone_database("clone")
    assert run(servers, "jobs", "SELECT text FROM note", clone) == [("kept",)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(servers, "outputs", "SELECT * FROM jobs.note", clone)
    servers.drop_database(clone)
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        run(servers, "jobs", "SELECT 1", clone)


@pytest.mark.usefixtures("notes")
def test_a_killed_server_starts_again_with_its_data(servers: Servers) -> None:
    servers.postgres.kill()
    servers.postgres.restart()
    assert run(servers, "jobs", "SELECT text FROM note") == [("kept",)]


@pytest.mark.usefixtures("notes")
def test_a_stale_pid_file_that_names_a_stranger_does_not_keep_the_server_down(servers: Servers) -> None:
    servers.postgres.kill()
    pid_file = servers.folder / "postgres" / "data" / "postmaster.pid"
    _, *rest = pid_file.read_text(encoding="utf-8").splitlines()
    stranger = servers.valkey.pid
    pid_file.write_text("\n".join([str(stranger), *rest]) + "\n", encoding="utf-8")
    servers.postgres.restart()
    assert run(servers, "jobs", "SELECT text FROM note") == [("kept",)]
