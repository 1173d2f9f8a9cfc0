"""Settings: every fault at once, and every variable in the README."""

from pathlib import Path

import pytest

from common.settings import SettingsError, load, variables
from gateway import config as gateway_config
from issuer import config as issuer_config

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
CLASSES = [
    gateway_config.Settings,
    gateway_config.SeedSettings,
    gateway_config.MigrationSettings,
    issuer_config.Settings,
]
GATEWAY = {
    "PUBLIC_URL": "http://localhost:3333/",
    "REDIS_URL": "redis://r",
    "ROUTES_FILE": "routes.yaml",
    "DATABASE_URL": "postgresql://gateway@p/taxiway",
    "JOBS_URL": "http://j",
    "OUTPUTS_URL": "http://o",
    "JOBS_SIGNING_KEY": "j:" + "11" * 32,
    "OUTPUTS_SIGNING_KEY": "o:" + "22" * 32,
}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_setting_is_in_the_readme(cls: type) -> None:
    missing = [variable.name for variable in variables(cls) if f"`{variable.name}`" not in README]
    assert missing == []


@pytest.mark.parametrize("cls", CLASSES)
def test_everything_missing_is_named_at_once(cls: type) -> None:
    with pytest.raises(SettingsError) as raised:
        load(cls, {})
    assert len(raised.value.faults) == sum(variable.is_required for variable in variables(cls))


def test_the_audience_is_the_public_url_unless_told_otherwise() -> None:
    assert load(gateway_config.Settings, GATEWAY).audience == "http://localhost:3333"
    assert load(gateway_config.Settings, {**GATEWAY, "OAUTH2_AUDIENCE": "a"}).audience == "a"


def test_issuers_are_kept_as_they_are_written() -> None:
    settings = load(gateway_config.Settings, {**GATEWAY, "OAUTH2_ISSUER": "https://a.example/ http://b"})
    assert settings.oauth2_issuers == ("https://a.example/", "http://b")
    with pytest.raises(SettingsError, match="OAUTH2_ISSUER"):
        load(gateway_config.Settings, {**GATEWAY, "OAUTH2_ISSUER": "a.example"})


def test_trusted_proxies_are_addresses_and_networks() -> None:
    settings = load(gateway_config.Settings, {**GATEWAY, "TRUSTED_PROXIES": "10.0.0.0/8 ::1"})
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    for faulty in ("proxy.example", "10.0.0.1/8"):
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
            load(gateway_config.Settings, {**GATEWAY, "TRUSTED_PROXIES": faulty})


def test_an_issuer_we_do_not_run_is_no_upstream() -> None:
    assert set(load(gateway_config.Settings, GATEWAY).upstreams) == {"jobs", "outputs"}


def test_the_issuers_url_must_end_in_a_realm() -> None:
    environment = {"DATABASE_URL": "x", "ISSUER_AUDIENCE": "a", "SEALING_KEYS": "s:" + "11" * 32}
    settings = load(issuer_config.Settings, {**environment, "ISSUER_URL": "https://h:1/auth/realms/site/"})
    assert (settings.realm, settings.origin) == ("site", "https://h:1")
    for faulty in ({"ISSUER_URL": "https://h"}, {"ISSUER_URL": "https://h/realms/x", "ISSUER_AUDIENCE": " "}):
        with pytest.raises(SettingsError):
            load(issuer_config.Settings, {**environment, **faulty})
