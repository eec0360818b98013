"""What clients are told from the settings, and what is refused before anything connects."""

from pathlib import Path
from typing import Any

import pytest
from faust.auth import SASLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from tests.certificates import Authority
from tracker.errors import ConfigurationError
from tracker.kafka.clients import client_options
from tracker.kafka.security import contradictions, security_options
from tracker.settings import Settings
from tracker.streaming.credentials import credentials

LOGIN = {"kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_sasl_username": "u", "kafka_sasl_password": "hush"}


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def test_without_settings_clients_speak_plaintext() -> None:
    assert security_options(settings()) == {"security_protocol": "PLAINTEXT"}
    assert credentials(settings()) is None


@pytest.mark.parametrize("mechanism", ["plain", "SCRAM-SHA-256", "scram-sha-512"])
@pytest.mark.parametrize("protocol", ["sasl_plaintext", "SASL_SSL"])
def test_faust_and_aiokafka_log_in_alike(protocol: str, mechanism: str) -> None:
    given = settings(kafka_security_protocol=protocol, **{**LOGIN, "kafka_sasl_mechanism": mechanism})
    ours, fausts = client_options(given, "c"), credentials_to_aiokafka_auth(credentials(given))
    assert ours["security_protocol"] == protocol.upper()
    names = ("security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password")
    assert [ours[name] for name in names] == [fausts[name] for name in names]
    assert ours["sasl_mechanism"] == mechanism.upper()
    assert (ours.get("ssl_context") is None) == (fausts["ssl_context"] is None) == (protocol == "sasl_plaintext")


def test_brokers_must_have_the_name_that_they_are_reached_by_unless_told_otherwise(tmp_path: Path) -> None:
    ca = Authority("ca").write(tmp_path)
    given = {"kafka_security_protocol": "ssl", "kafka_ssl_ca_file": ca}
    assert security_options(settings(**given))["ssl_context"].check_hostname
    assert credentials(settings(**given)) is not None
    context = security_options(settings(**given, kafka_ssl_check_hostname=False))["ssl_context"]
    assert not context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_a_certificate_of_ours_is_shown_with_its_key_only(tmp_path: Path) -> None:
    authority = Authority("ca")
    cert, key = authority.issue("client").write(tmp_path)
    other = authority.issue("other").write(tmp_path)[1]
    given = {"kafka_security_protocol": "ssl", "kafka_ssl_cert_file": cert}
    security_options(settings(**given, kafka_ssl_key_file=key))
    with pytest.raises(ConfigurationError, match=r"SSL_KEY_FILE=.*other\.key"):
        security_options(settings(**given, kafka_ssl_key_file=other))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka_security_protocol": "sasl_ssl", **LOGIN, "kafka_sasl_password": ""}, "needs .*SASL_PASSWORD"),
        ({"kafka_security_protocol": "sasl_ssl", **LOGIN, "kafka_sasl_mechanism": ""}, "needs .*SASL_MECHANISM"),
        ({"kafka_security_protocol": "ssl", **LOGIN}, "SASL_MECHANISM is set, but .*PROTOCOL=ssl"),
        ({"kafka_sasl_username": "u"}, "SASL_USERNAME is set, but .*PROTOCOL=plaintext"),
        ({"kafka_ssl_ca_file": "ca.pem"}, "SSL_CA_FILE is set, but .*PROTOCOL=plaintext does not encrypt"),
        ({"kafka_ssl_check_hostname": False}, "CHECK_HOSTNAME is off"),
        ({"kafka_security_protocol": "ssl", "kafka_ssl_key_file": "k"}, "set both or neither"),
        ({"kafka_security_protocol": "ssl", "kafka_ssl_ca_file": "absent.pem"}, "CA_FILE=.* can't be read"),
        ({"kafka_security_protocol": "ssl", "kafka_ssl_ca_file": __file__}, "CA_FILE=.* no certificate in PEM"),
    ],
)
def test_settings_that_can_not_be_meant_together_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        client_options(settings(**given), "c")
    assert "hush" not in str(refused.value)


def test_all_that_is_set_together_is_no_contradiction() -> None:
    files = {"kafka_ssl_ca_file": "ca", "kafka_ssl_cert_file": "c", "kafka_ssl_key_file": "k"}
    assert list(contradictions(settings(kafka_security_protocol="sasl_ssl", **LOGIN, **files))) == []


def test_the_password_is_not_shown() -> None:
    given = settings(kafka_security_protocol="sasl_plaintext", **LOGIN)
    shown = credentials(given)
    assert isinstance(shown, SASLCredentials)
    assert "hush" not in f"{given!r} {shown!r}"
