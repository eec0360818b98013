"""The login of Faust's own clients, in Faust's words."""

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from tracker.kafka.security import security_options
from tracker.settings import Settings


def credentials(settings: Settings) -> CredentialsT | None:
    """Return the credentials of the consumer and the producer that Faust makes; None where brokers want none.

    Raises:
        ConfigurationError: the settings contradict each other, or a certificate can't be read.
    """
    options = security_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None
