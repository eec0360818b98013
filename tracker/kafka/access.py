"""Checks that the cluster lets us in and grants our rights: once at the start, and again when nothing answers.

aiokafka reports a wrong password, an untrusted certificate and a broker that is away as one error, and tries again for
ever; a denied topic shows only once it is used. So we connect ourselves and see, and ask the broker what we may do.
"""

import asyncio
import ssl
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn

from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka.acls import Need, needs
from tracker.kafka.aiokafka_internals import AdminClient
from tracker.kafka.clients import client_options, until_answered
from tracker.kafka.requests import DescribeTopics
from tracker.settings import Settings

#: How long a look at the cluster may take; one that is slower is away.
LOOK_TIMEOUT_SECONDS: Final = 10.0
#: Kafka's numbers of the operations: each is a bit in the set of allowed operations that a broker returns.
_BITS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10}
#: The value that brokers return when they don't report the allowed operations.
_UNTOLD: Final = -(2**31)
_DENIED: Final = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)
#: OpenSSL's codes of a certificate that is for another host, and for another address.
_MISNAMED: Final = frozenset({62, 64})


async def wait_for_access(settings: Settings, process: str) -> None:
    """Wait for the cluster as long as it is away, and return once it grants a process all rights that it needs.

    Raises:
        ConfigurationError: it does not.
    """
    await until_answered(settings.kafka_bootstrap, partial(require_access, settings, process))


async def require_access(settings: Settings, process: str) -> None:
    """Return once the cluster has confirmed all rights that a process needs. Topics that don't exist are passed over.

    Raises:
        ConfigurationError: the cluster does not let us in, or denies something; says which setting or ACL.
        RetryableError: it can't be reached.
    """
    admin = AdminClient(**client_options(settings, "tracker-access"))
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
            await admin.start()
            denied = await _denied(admin, [need for need in needs(process, settings.topic_prefix) if not need.optional])
    except (errors.KafkaError, OSError, TimeoutError) as error:
        raise await explain(settings, error) from error
    finally:
        await admin.close()
    if denied:
        raise ConfigurationError(
            f"Kafka does not let {_who(settings)} {', '.join(denied)}: see tracker topics acls --process {process}"
        )


async def explain(settings: Settings, error: BaseException) -> ConfigurationError | RetryableError:
    """Return what an error of a Kafka client means to the operator: settings to change, or a cluster to wait for."""
    if isinstance(error, _DENIED):
        return denial(error)
    if (refused := await refusal(settings)) is not None:
        return refused
    # A broker that refuses connections is the usual case; aiokafka's own words for it are about socket families.
    known = isinstance(error, errors.KafkaConnectionError | TimeoutError)
    where = f"no Kafka answers at {settings.kafka_bootstrap} (TRACKER_KAFKA_BOOTSTRAP)"
    return RetryableError(where if known else f"{where}: {error}")


def is_denial(error: BaseException) -> bool:
    """Return whether an error is the broker saying that we may not."""
    return isinstance(error, _DENIED)


def denial(error: BaseException) -> ConfigurationError:
    """Return a denial in words for the operator."""
    what = error.args[0] if error.args else type(error).__name__
    return ConfigurationError(f"Kafka denies us access ({what}): see tracker topics acls")


async def refusal(settings: Settings) -> ConfigurationError | None:
    """Connect to the brokers one by one and return why one does not let us in; None if one does, or none answers."""
    options = client_options(settings, "tracker-access")
    hosts = collect_hosts(options.pop("bootstrap_servers"))
    options.pop("metadata_max_age_ms")
    for host, port, _ in hosts:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                connection = await create_conn(host, port, **options)
        except (errors.KafkaError, OSError, TimeoutError) as error:
            for cause in _causes(error):
                if (words := _in_words(cause, settings)) is not None:
                    return ConfigurationError(f"Kafka at {host}:{port} {words}")
        else:
            connection.close()
            return None
    return None


def _in_words(  # noqa: PLR0911 - a table of what can be refused
    error: BaseException, settings: Settings
) -> str | None:
    protocol = f"TRACKER_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}"
    match error:
        case ssl.SSLCertVerificationError():
            is_misnamed = error.verify_code in _MISNAMED
            setting = "TRACKER_KAFKA_SSL_CHECK_HOSTNAME" if is_misnamed else "TRACKER_KAFKA_SSL_CA_FILE"
            return f"shows a certificate that is not trusted ({error.verify_message}): see {setting}"
        case ssl.SSLError(reason=str(reason)) if "CERTIFICATE" in reason:
            return f"refuses our certificate ({reason}): see TRACKER_KAFKA_SSL_CERT_FILE"
        case ssl.SSLError(reason=str(reason)) if reason != "UNEXPECTED_EOF_WHILE_READING":
            return f"does not speak TLS ({reason}): see {protocol}"
        case errors.SaslAuthenticationFailed() | errors.AuthenticationFailedError():
            who = settings.kafka_sasl_username
            return f"refuses the login of {who!r}: see TRACKER_KAFKA_SASL_USERNAME and TRACKER_KAFKA_SASL_PASSWORD"
        case errors.UnsupportedSaslMechanismError():
            return f"has no logins by {settings.kafka_sasl_mechanism}: see TRACKER_KAFKA_SASL_MECHANISM"
        case errors.IllegalSaslStateError():
            return f"wants no login: see {protocol}"
    return None


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def _denied(admin: AdminClient, needed: list[Need]) -> list[str]:
    """Return the missing rights, in words."""
    topics = {need.name: need for need in needed if need.resource == "topic" and need.pattern == "literal"}
    answer: Any = await admin.ask(DescribeTopics(list(topics)))
    denied = []
    for topic in answer.to_object()["topics"]:
        allowed, operations = topic["authorized_operations"], topics[topic["topic"]].operations
        if topic["error_code"] == errors.TopicAuthorizationFailedError.errno:
            denied.append(f"{'/'.join(operations)} {topic['topic']}")
        elif not topic["error_code"] and allowed != _UNTOLD:
            lacking = [operation for operation in operations if not allowed >> _BITS[operation] & 1]
            denied += [f"{'/'.join(lacking)} {topic['topic']}"] if lacking else []
    for need in needed:
        if need.resource == "group":
            try:
                await admin.find_coordinator(need.name)
            except errors.GroupAuthorizationFailedError:
                denied.append(f"{'/'.join(need.operations)} group {need.name}")
            except errors.CoordinatorNotAvailableError:  # a new cluster: its offsets topic is being made
                pass
    return denied


def _who(settings: Settings) -> str:
    return repr(settings.kafka_sasl_username) if settings.kafka_sasl_username else "us"
