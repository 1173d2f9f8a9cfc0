"""A whole declaration over HTTP: planned, made, pruned; our environment stays ours."""

from typing import Any

import yaml

TENANTS = [{"code": "t", "name": "T"}, {"code": "u", "name": "U"}]


def document(code: str, **more: Any) -> dict[str, Any]:
    return {"partners": [{"code": code, "name": code, "tenants": TENANTS, **more}]}


def messages(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["message"] for each in answer.get_json()["changes"]]


def test_a_dry_run_answers_the_plan_and_changes_nothing(ask: Any) -> None:
    planned = ask("POST", "/provision?dryRun=true", document("plan"))
    assert planned.get_json()["applied"] is False
    assert messages(planned) == [
        "+ partner plan  name=plan",
        "+ tenant plan/t  name=T",
        "+ tenant plan/u  name=U",
    ]
    assert ask("GET", "/partners/plan").status_code == 404


def test_a_declaration_is_made_so_once(ask: Any) -> None:
    assert len(messages(ask("POST", "/provision", document("made")))) == 3
    assert messages(ask("POST", "/provision", document("made"))) == []
    assert ask("GET", "/partners/made").get_json()["tenants"] == TENANTS


def test_nothing_is_removed_unless_asked(ask: Any, partner: str) -> None:
    only = {"partners": [{"code": partner, "tenants": [{"code": "t"}]}]}
    assert messages(ask("POST", "/provision", only)) == []
    assert messages(ask("POST", "/provision?prune=true", only)) == [
        f"- bundle {partner} assessments/Direct",
        f"- bundle {partner} assessments/Matched",
        f"- year {partner} 2026",
        f"- year {partner} 2027",
        f"- tenant {partner}/north  retired",
    ]
    assert ask("GET", f"/partners/{partner}/tenants").get_json() == [{"code": "t", "name": "t"}]


def test_partners_end_only_when_that_is_asked(ask: Any, partner: str) -> None:
    everyone = {"partners": [{"code": each["code"]} for each in ask("GET", "/partners").get_json()]}
    everyone["partners"] = [each for each in everyone["partners"] if each["code"] != partner]
    assert messages(ask("POST", "/provision", everyone)) == []
    planned = messages(ask("POST", "/provision?prunePartners=true&dryRun=true", everyone))
    assert planned[-1] == f"- partner {partner}  retired"


def test_yaml_is_read_as_well(ask: Any) -> None:
    body = yaml.safe_dump(document("yaml"))
    answer = ask("POST", "/provision", data=body, content_type="application/yaml")
    assert len(messages(answer)) == 3


def test_yaml_that_stands_for_more_than_it_is_is_refused(ask: Any) -> None:
    for body in ("a: &a [1]\nb: *a", "a: [", b"\xff"):
        answer = ask("POST", "/provision", data=body, content_type="application/yaml")
        assert answer.status_code == 400


def test_our_environment_is_not_read(ask: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("OURS", "http://127.0.0.1:9")
    ods = {"tenant": "t", "year": 2026, "url": "${OURS}", "client_secret_env": "OURS", "client_id": "c"}
    answer = ask("POST", "/provision", document("env", ods=[ods]))
    problem = answer.get_json()
    assert answer.status_code == 400
    assert "127.0.0.1" not in answer.text
    assert problem["details"] == {
        "partners[0].ods[0].client_secret_env": ["client_secret_env is not a key we know"],
        "partners[0].ods[0].url": [
            "url must be an http:// or https:// URL without credentials, query or fragment"
        ],
        "partners[0].ods[0].token_url": [
            "token_url must be an http:// or https:// URL without credentials, query or fragment"
        ],
    }


def test_one_fault_and_nothing_is_done(ask: Any) -> None:
    ods = [{"tenant": "nobody", "year": 2026, "url": "http://x", "client_id": "c", "client_secret": "s"}]
    answer = ask("POST", "/provision", document("whole", ods=ods))
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/tenant-not-found")
    assert ask("GET", "/partners/whole").status_code == 404


def test_a_repeat_with_the_same_key_answers_the_same_plan(ask: Any) -> None:
    headers = {"Idempotency-Key": "provision-1"}
    first = ask("POST", "/provision", document("key"), headers=headers)
    assert ask("POST", "/provision", document("key"), headers=headers).get_json() == first.get_json()
    assert ask("POST", "/provision", document("other"), headers=headers).status_code == 422


def test_a_flag_is_true_or_false(ask: Any) -> None:
    assert ask("POST", "/provision?prune=1", document("flag")).status_code == 400
