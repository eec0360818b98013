"""How every client encrypts and who it says it is, from the settings.

Settings that contradict each other are refused here, before anything connects: a password that a typing error in
TRACKER_KAFKA_SECURITY_PROTOCOL leaves unused would look like a broker that is away.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracker.errors import ConfigurationError
from tracker.settings import Settings


def security_options(settings: Settings) -> dict[str, Any]:
    """Return the options that aiokafka's clients need to log in.

    Raises:
        ConfigurationError: the settings contradict each other, or a certificate can't be read; says which.
    """
    for problem in contradictions(settings):
        raise ConfigurationError(problem)
    options: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol.upper()}
    if _encrypts(settings):
        options["ssl_context"] = ssl_context(settings)
    if _logs_in(settings):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def contradictions(settings: Settings) -> Iterator[str]:
    """Yield the contradictions in the settings, each as a line that says what to change."""
    protocol = f"TRACKER_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}"
    sasl = {
        "TRACKER_KAFKA_SASL_MECHANISM": settings.kafka_sasl_mechanism,
        "TRACKER_KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
        "TRACKER_KAFKA_SASL_PASSWORD": settings.kafka_sasl_password.get_secret_value(),
    }
    files = {
        "TRACKER_KAFKA_SSL_CA_FILE": settings.kafka_ssl_ca_file,
        "TRACKER_KAFKA_SSL_CERT_FILE": settings.kafka_ssl_cert_file,
        "TRACKER_KAFKA_SSL_KEY_FILE": settings.kafka_ssl_key_file,
    }
    for name, value in sasl.items():
        if _logs_in(settings) and not value:
            yield f"{protocol} needs {name}"
        if not _logs_in(settings) and value:
            yield f"{name} is set, but {protocol} logs in without it: set sasl_ssl, or unset {name}"
    for name, file in files.items():
        if not _encrypts(settings) and file is not None:
            yield f"{name} is set, but {protocol} does not encrypt: set ssl or sasl_ssl, or unset {name}"
    if (settings.kafka_ssl_cert_file is None) != (settings.kafka_ssl_key_file is None):
        yield "TRACKER_KAFKA_SSL_CERT_FILE and TRACKER_KAFKA_SSL_KEY_FILE go together: set both or neither"
    if not _encrypts(settings) and not settings.kafka_ssl_check_hostname:
        yield f"TRACKER_KAFKA_SSL_CHECK_HOSTNAME is off, but {protocol} does not encrypt: set ssl or sasl_ssl"


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Return a context that trusts the given CA (default: the system's) and may show a certificate of ours.

    Raises:
        ConfigurationError: a file can't be used; says which setting names it.
    """
    ca, cert, key = settings.kafka_ssl_ca_file, settings.kafka_ssl_cert_file, settings.kafka_ssl_key_file
    _require_readable("TRACKER_KAFKA_SSL_CA_FILE", ca)
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f"TRACKER_KAFKA_SSL_CA_FILE={ca} holds no certificate in PEM") from error
    context.check_hostname = settings.kafka_ssl_check_hostname
    if cert is not None and key is not None:
        _require_readable("TRACKER_KAFKA_SSL_CERT_FILE", cert)
        _require_readable("TRACKER_KAFKA_SSL_KEY_FILE", key)
        try:
            # The empty password: for an encrypted key OpenSSL would ask at the terminal.
            context.load_cert_chain(cert, key, password="")
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"TRACKER_KAFKA_SSL_CERT_FILE={cert} and TRACKER_KAFKA_SSL_KEY_FILE={key} are not a certificate and "
                "its unencrypted key in PEM"
            ) from error
    return context


def _require_readable(name: str, file: Path | None) -> None:
    try:
        if file is not None:
            file.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{name}={file} can't be read: {error.strerror}") from error


def _encrypts(settings: Settings) -> bool:
    return settings.kafka_security_protocol in {"ssl", "sasl_ssl"}


def _logs_in(settings: Settings) -> bool:
    return settings.kafka_security_protocol in {"sasl_plaintext", "sasl_ssl"}
