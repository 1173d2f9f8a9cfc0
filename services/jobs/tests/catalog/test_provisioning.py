"""Provisioning: a plan, applied once; secrets sealed and never shown."""

import copy
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from common.database import transaction
from common.sealing import Sealer
from jobs.catalog import declarations, ods, provisioning
from jobs.catalog.audit import Actor
from jobs.catalog.declared import DeclarationFaulty
from jobs.catalog.provisioning import TenantMissing
from jobs.catalog.pruning import Prune

FILE = """
partners:
  - code: ea
    name: Education Agency
    tenants: [{code: ea, name: Education Agency}]
    school_years: [{year: 2026, enabled: true, sends_to_ods: false}, {year: 2023, enabled: false}]
    bundles: [assessments/PSAT_SAT, {key: tests/echo, mode: direct, student_id_name: Local ID}]
    ods: [{tenant: ea, year: 2027, url: "${ODS_URL:-http://127.0.0.1:3499}/",
           client_id_env: ODS_ID, client_secret_env: ODS_SECRET}]
"""
ACTOR = Actor(name="tests", place="here")
ENVIRON = {"ODS_ID": "the-client", "ODS_SECRET": "the-secret"}


@pytest.fixture
def apply(new_database: Any, servers: Any, sealer: Sealer) -> Any:
    """Apply a file to a database of its own and give the plan's lines."""
    from common import database

    engine = database.connect(servers.database_url("jobs", new_database()), "tests", pool_size=1)

    def provision(file: str = FILE, environ: dict[str, str] = ENVIRON, **options: Any) -> list[str]:
        declared = declarations.read(file, environ)
        with transaction(engine) as connection:
            asked = {"sealer": sealer, "actor": ACTOR, **options}
            plan = provisioning.provision(connection, declared, **asked)
        assert "the-secret" not in repr(plan) + repr(declared)
        return [change.sentence for change in plan]

    provision.engine = engine  # type: ignore[attr-defined]
    yield provision
    engine.dispose()


def read(engine: Engine, statement: str) -> list[Any]:
    with engine.begin() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def changed(path: list[Any], value: Any) -> str:
    document = copy.deepcopy(yaml.safe_load(FILE))
    place = document["partners"][0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return yaml.safe_dump(document)


def test_applying_twice_changes_nothing_the_second_time(apply: Any) -> None:
    assert apply() == [
        "+ school year 2023",
        "+ school year 2026",
        "+ school year 2027",
        "+ partner ea  name=Education Agency",
        "+ tenant ea/ea  name=Education Agency",
        "+ year ea 2026  enabled=True, sends_to_ods=False, needs_roster=True, match_rate=0.5",
        "+ year ea 2023  enabled=False, sends_to_ods=False, needs_roster=True, match_rate=0.5",
        "+ bundle ea assessments/PSAT_SAT",
        "+ bundle ea tests/echo  mode=direct, student_id_name=Local ID",
        "+ ods ea/ea 2027  http://127.0.0.1:3499",
    ]
    assert apply() == []


def test_a_dry_run_plans_and_changes_nothing(apply: Any) -> None:
    assert len(apply(dry_run=True)) == len(apply(dry_run=True)) == 10
    assert read(apply.engine, "SELECT count(*) FROM partner") == [(0,)]


def test_outputs_are_told_of_school_years_only_when_these_change(apply: Any) -> None:
    apply()
    apply(changed(["name"], "Other"))
    assert read(apply.engine, "SELECT kind FROM delivery") == [("school-years",)]
    apply(changed(["school_years"], [{"year": "2030"}]))
    assert len(read(apply.engine, "SELECT kind FROM delivery")) == 2


def test_what_differs_is_changed_and_what_is_left_out_stays(apply: Any) -> None:
    apply()
    assert apply(changed(["school_years"], [{"year": 2023, "match_rate": 0.8}])) == [
        "~ year ea 2023  enabled: False -> True, match_rate: 0.5 -> 0.8"
    ]
    assert apply("partners: [{code: ea, name: Other}]") == ["~ partner ea  name: Education Agency -> Other"]
    assert read(apply.engine, "SELECT count(*) FROM partner_year") == [(2,)]


def test_pruning_ends_what_the_file_does_not_name_of_the_partners_it_names(apply: Any) -> None:
    apply()
    apply("partners: [{code: other, tenants: [{code: t}]}]")
    less = changed(["tenants"], [{"code": "new"}])
    less = yaml.safe_dump({"partners": [{**yaml.safe_load(less)["partners"][0], "ods": [], "bundles": []}]})
    assert apply(less, prune=Prune(parts=True)) == [
        "+ tenant ea/new  name=new",
        "- ods ea/ea 2027  retired: http://127.0.0.1:3499",
        "- bundle ea assessments/PSAT_SAT",
        "- bundle ea tests/echo",
        "- tenant ea/ea  retired",
    ]
    assert apply(less, prune=Prune(parts=True)) == []
    assert read(apply.engine, "SELECT code FROM tenant WHERE retired_at IS NULL ORDER BY code") == [
        ("new",),
        ("t",),
    ]


def test_a_partner_ends_only_when_partners_are_pruned_too(apply: Any) -> None:
    apply()
    other = "partners: [{code: other}]"
    assert apply(other, prune=Prune(parts=True)) == ["+ partner other  name=other"]
    planned = apply(other, prune=Prune(parts=True, partners=True))
    assert (planned[0], planned[-1]) == (
        "- ods ea/ea 2027  retired: http://127.0.0.1:3499",
        "- partner ea  retired",
    )
    assert apply()[0] == "+ partner ea  name=Education Agency"


def test_pruning_and_declaring_an_ods_of_the_pruned_tenant_contradict(apply: Any) -> None:
    apply()
    with pytest.raises(TenantMissing):
        apply(changed(["tenants"], []), prune=Prune(parts=True))


def test_every_change_is_noted_with_who_made_it(apply: Any) -> None:
    apply()
    noted = read(apply.engine, "SELECT actor, action, subject, data::text FROM audit ORDER BY id")
    assert len(noted) == 10
    assert noted[3][:3] == ("tests", "partner.added", "ea")
    assert "the-secret" not in str(noted)


def test_overrides_and_rates_are_kept(apply: Any) -> None:
    file = (
        "partners: [{code: ea,"
        " school_years: [{year: 2026, needs_roster: false, required_id_match_rate: 0.8}],"
        " bundles: [{key: a/b, mode: direct, studentIdName: Local}]}]"
    )
    assert apply(file)[-2:] == [
        "+ year ea 2026  enabled=True, sends_to_ods=False, needs_roster=False, match_rate=0.8",
        "+ bundle ea a/b  mode=direct, student_id_name=Local",
    ]


def test_a_fault_names_its_line_and_place() -> None:
    file = "partners:\n  - code: ea\n    schoolYears:\n      - year: 2026\n        sendsToOds: maybe\n"
    with pytest.raises(DeclarationFaulty) as caught:
        declarations.read(file, {})
    assert "line 5: partners[0].school_years[0]: sendsToOds must be true or false" in str(caught.value)


def test_a_secret_is_sealed_for_its_place(apply: Any, sealer: Sealer) -> None:
    apply()
    [(number, kept, client)] = read(apply.engine, "SELECT id, client_secret, client_id FROM ods")
    assert client == "the-client"
    assert "the-secret" not in kept
    with apply.engine.begin() as connection:
        opened = ods.unsealed(connection, number, sealer)
    assert opened.client_secret == "the-secret"
    assert "the-secret" not in repr(opened)


def test_a_new_secret_is_put_in_the_same_ods_and_a_new_url_makes_a_new_one(apply: Any) -> None:
    apply()
    other = {**ENVIRON, "ODS_SECRET": "the-secret-2"}
    assert apply(environ=other) == ["~ ods ea/ea 2027  client secret changed"]
    assert apply(environ={**other, "ODS_URL": "http://ods"}) == [
        "- ods ea/ea 2027  retired: http://127.0.0.1:3499",
        "+ ods ea/ea 2027  http://ods",
    ]
    live = "SELECT url, retired_at IS NULL FROM ods ORDER BY id"
    assert read(apply.engine, live) == [("http://127.0.0.1:3499", False), ("http://ods", True)]


def test_a_secret_that_no_key_opens_is_sealed_anew(apply: Any) -> None:
    apply(sealer=Sealer({"lost": b"l" * 32}))
    assert apply() == ["~ ods ea/ea 2027  client secret changed"]


def test_an_ods_needs_a_tenant_and_nothing_is_kept_without(apply: Any) -> None:
    with pytest.raises(TenantMissing, match="no such tenant"):
        apply(changed(["tenants"], []))
    assert read(apply.engine, "SELECT count(*) FROM partner") == [(0,)]


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("", "it must be an object with the one key partners"),
        ("partner: []", "it must be an object with the one key partners"),
        ("a: [", "it is not YAML"),
        ("partners: {}\n", ""),
        ("partners: [5]", "partners[0]: must be an object"),
        ("partners: [{code: a/b, name: x}]", "partners[0]: code must be"),
        ("partners: [{code: '..', name: x}]", "partners[0]: code must be"),
        ("partners: [{code: a, bundle: []}]", "partners[0]: bundle is not a key we know"),
        ("partners: [{code: a}, {code: a}]", "partner a is declared more than once"),
        (changed(["school_years"], [{"year": 26}]), "partners[0].school_years[0]: year must be"),
        (changed(["school_years"], [{"year": 2026, "enabled": "no"}]), "enabled must be true or false"),
        (
            changed(["school_years"], [{"year": 2026, "match_rate": 2}]),
            "match_rate must be a number from 0 to 1",
        ),
        (changed(["bundles"], ["one"]), "partners[0].bundles[0]: key must be two names"),
        (changed(["bundles"], [{"key": "a/b", "mode": "odd"}]), "mode must be direct or matched"),
        (changed(["ods", 0, "url"], "ftp://x"), "url must be an http:// or https:// URL"),
        (changed(["ods", 0, "client_secret"], "x"), "client_secret is not a key we know"),
        (changed(["ods", 0, "client_secret_env"], "NOT_SET"), "NOT_SET is not set in the environment"),
    ],
)
def test_a_faulty_file_is_named_before_anything_is_done(file: str, fault: str) -> None:
    if not fault:
        assert declarations.read(file, ENVIRON) == []
        return
    with pytest.raises(DeclarationFaulty) as caught:
        declarations.read(file, ENVIRON)
    assert fault in str(caught.value)


def test_a_secret_may_come_from_a_file(tmp_path: Any) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    environ = {"ODS_ID": "c", "ODS_SECRET_FILE": str(tmp_path / "secret")}
    [partner] = declarations.read(FILE, environ)
    assert partner.ods[0].client_secret == "from-a-file"
    with pytest.raises(DeclarationFaulty, match="cannot be read"):
        declarations.read(FILE, {"ODS_ID": "c", "ODS_SECRET_FILE": str(tmp_path / "none")})
