"""What makes a token good, and what attackers try (external-api.md §1 row 3, identity.md §5)."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

INVALID = (401, "Invalid token")


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e400},
        {"exp": -5},
        {"exp": 2**60},
        {"aud": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": {}},
        {"aud": "runway-local2"},
        {"iss": None},
        {"iss": "https://login.example/realms/y"},
        {"iss": "https://login.example/realms/x/"},
        {"iss": ["https://login.example/realms/x"]},
        {"iss": {}},
        {"iss": "taxiway-runs"},
        {"nbf": "later"},
        {"nbf": 1e400},
        {"scope": "read:jobs \ud800"},
        {"client_name": "\udfff"},
    ],
)
def test_a_token_with_a_faulty_claim_is_invalid(
    door: Any, keys: Any, tools: Any, changes: dict[str, Any]
) -> None:
    assert door.refusal(tools.mint(keys.rsa, door.claims(**changes))) == INVALID


def test_a_token_expires_at_its_second_and_not_before(door: Any, keys: Any, tools: Any) -> None:
    assert door.refusal(tools.mint(keys.rsa, door.claims(exp=door.now))) == INVALID
    assert door.refusal(tools.mint(keys.rsa, door.claims(exp=door.now - 1))) == INVALID
    token = tools.mint(keys.rsa, door.claims(exp=door.now + 1))
    door.admitted(token)
    door.clock.advance(1)
    assert door.refusal(token) == INVALID


def test_a_token_is_not_good_before_its_time(door: Any, keys: Any, tools: Any) -> None:
    assert door.refusal(tools.mint(keys.rsa, door.claims(nbf=door.now + 1))) == INVALID
    door.admitted(tools.mint(keys.rsa, door.claims(nbf=door.now)))


def test_the_audience_may_be_one_of_a_list(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims(aud=["account", "runway-local"])))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "JWT", "jwt", "application/at+jwt", None])
def test_these_types_of_token_are_read(door: Any, keys: Any, tools: Any, typ: str | None) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims(), typ=typ))


@pytest.mark.parametrize("typ", ["dpop+jwt", "", "id_token", "logout+jwt", 7])
def test_other_types_of_token_are_invalid(door: Any, keys: Any, tools: Any, typ: Any) -> None:
    header = tools.encode({"alg": "RS256", "kid": keys.rsa.kid, "typ": typ})
    _, claims, signature = tools.mint(keys.rsa, door.claims()).split(".")
    assert door.refusal(f"{header}.{claims}.{signature}") == INVALID


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa_algorithms_are_accepted(door: Any, keys: Any, tools: Any, alg: str) -> None:
    door.published = [keys.other_rsa.as_dict(private=False), keys.rsa.as_dict(private=False)]
    door.admitted(tools.mint(keys.rsa, door.claims(), alg=alg))


@pytest.mark.parametrize(("alg", "curve"), [("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521")])
def test_elliptic_algorithms_are_accepted_on_their_own_curve(
    door: Any, tools: Any, alg: str, curve: Any
) -> None:
    key = ECKey.generate_key(curve, auto_kid=True)
    door.published = [key.as_dict(private=False)]
    door.admitted(tools.mint(key, door.claims(), alg=alg))


def test_eddsa_is_accepted(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.ed, door.claims()))


def test_alg_none_is_invalid(door: Any, tools: Any) -> None:
    for alg in ("none", "None", "NONE", "", None):
        header = tools.encode({"alg": alg, "typ": "JWT"})
        assert door.refusal(f"{header}.{tools.encode(door.claims())}.") == INVALID


def test_hs256_with_the_public_key_as_its_secret_is_invalid(door: Any, keys: Any, tools: Any) -> None:
    public = [keys.rsa.as_pem(private=False), json.dumps(keys.rsa.as_dict(private=False)).encode()]
    for secret in public:
        signed = f"{tools.encode({'alg': 'HS256', 'kid': keys.rsa.kid})}.{tools.encode(door.claims())}"
        signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert door.refusal(f"{signed}.{tools.encode(signature)}") == INVALID


def test_a_shared_secret_in_the_key_set_is_passed_over(door: Any, tools: Any) -> None:
    door.published = [{"kty": "oct", "kid": "s", "k": tools.encode(b"k" * 32), "alg": "HS256"}]
    signed = f"{tools.encode({'alg': 'HS256', 'kid': 's'})}.{tools.encode(door.claims())}"
    signature = hmac.new(b"k" * 32, signed.encode(), hashlib.sha256).digest()
    assert door.refusal(f"{signed}.{tools.encode(signature)}") == INVALID


def test_a_key_of_another_curve_or_type_under_the_same_kid_is_invalid(
    door: Any, keys: Any, tools: Any
) -> None:
    door.published = [{**keys.ec384.as_dict(private=False), "kid": "k"}]
    token = tools.mint(keys.ec, door.claims(), kid="k")
    assert door.refusal(token) == INVALID
    assert door.refusal(tools.mint(keys.rsa, door.claims(), kid="k")) == INVALID


def test_a_key_bound_to_one_algorithm_serves_no_other(door: Any, keys: Any, tools: Any) -> None:
    door.published = [{**keys.rsa.as_dict(private=False), "alg": "RS512"}]
    assert door.refusal(tools.mint(keys.rsa, door.claims(), alg="RS256")) == INVALID
    door.clock.advance(10)
    door.admitted(tools.mint(keys.rsa, door.claims(), alg="RS512"))


def test_keys_for_encryption_private_ones_and_short_ones_are_passed_over(
    door: Any, keys: Any, tools: Any
) -> None:
    with pytest.warns(UserWarning, match="Key size"):
        short = RSAKey.generate_key(1024, auto_kid=True)
    unusable = [
        {**keys.rsa.as_dict(private=False), "use": "enc"},
        keys.other_rsa.as_dict(private=True),
        short.as_dict(private=False),
        {"kty": "RSA", "kid": "x"},
        {"kty": "RSA", "n": 5, "e": []},
        {"kty": "moon"},
        7,
        None,
        {**keys.rsa.as_dict(private=False), "kid": 5},
    ]
    door.published = unusable
    for key in (keys.rsa, keys.other_rsa):
        assert door.refusal(tools.mint(key, door.claims())) == INVALID


def test_a_key_carried_by_the_token_itself_is_not_believed(door: Any, keys: Any, tools: Any) -> None:
    public = keys.other_rsa.as_dict(private=False)
    for header in ({"jwk": public}, {"jku": "http://evil.example/jwks"}, {"x5u": "http://evil.example/x"}):
        for kid in (keys.rsa.kid, keys.other_rsa.kid, None):
            assert door.refusal(tools.mint(keys.other_rsa, door.claims(), kid=kid, **header)) == INVALID
    door.admitted(tools.mint(keys.rsa, door.claims(), jwk=public, jku="http://evil.example"))


def test_a_critical_header_makes_a_token_invalid(door: Any, keys: Any, tools: Any) -> None:
    claims, header = tools.encode(door.claims()), {"alg": "RS256", "kid": keys.rsa.kid, "crit": ["b64"]}
    assert door.refusal(f"{tools.encode({**header, 'b64': False})}.{claims}.AAAA") == INVALID


def test_a_signature_over_other_claims_is_invalid(door: Any, keys: Any, tools: Any) -> None:
    header, _, signature = tools.mint(keys.rsa, door.claims()).split(".")
    forged = tools.encode(door.claims(scope="partner:other"))
    assert door.refusal(f"{header}.{forged}.{signature}") == INVALID


def test_a_token_without_kid_may_be_signed_by_any_published_key(door: Any, keys: Any, tools: Any) -> None:
    door.published = [keys.other_rsa.as_dict(private=False), keys.rsa.as_dict(private=False)]
    door.admitted(tools.mint(keys.rsa, door.claims(), kid=None))


def test_a_token_larger_than_8_kib_is_invalid(door: Any, keys: Any, tools: Any) -> None:
    fitting = tools.mint(keys.rsa, door.claims(pad="x" * 5000))
    assert len(fitting) <= 8192
    door.admitted(fitting)
    assert door.refusal(tools.mint(keys.rsa, door.claims(pad="x" * 6000))) == INVALID


@pytest.mark.parametrize(
    "part",
    ["[" * 5000, "{" * 5000, "7", '"x"', "null", '{"alg":"RS256","alg":', "\xff", '{"iss":' + "9" * 5000],
)
def test_garbage_is_invalid_and_never_our_fault(door: Any, tools: Any, part: str) -> None:
    text = tools.encode(part.encode("latin-1"))
    assert door.refusal(f"{text}.{text}.{text}"[:8000]) == INVALID
    assert door.refusal(f"{tools.encode({'alg': 'RS256'})}.{text}.x") == INVALID
    assert door.refusal(f"{text}=.{text}.x") == INVALID
