"""The likeliest mistakes of those who set the tracker up, and the line that each must lead to.

docs/mistakes.md is made from this list: ``python -m tests.unit.cli.mistakes > docs/mistakes.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mistake:
    """What somebody does, and what must be said. ``{taken}`` is a port in use, ``{dir}`` a directory."""

    what: str
    command: str
    says: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()
    exit_code: int = 1


SASL = {"TRACKER_KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}
KEYS = {"TRACKER_KEYS_FILE": "{dir}/keys.toml"}

MISTAKES = (
    Mistake(
        "a setting's name is misspelt",
        "collect",
        "TRACKER_PARTITIONZ in the environment is no setting; the nearest one is TRACKER_PARTITIONS",
        {"TRACKER_PARTITIONZ": "3"},
    ),
    Mistake(
        "a setting in .env is misspelt",
        "sink",
        "TRACKER_TINYBIRD_TOKN in .env is no setting; the nearest one is TRACKER_TINYBIRD_TOKEN",
        files={".env": "TRACKER_TINYBIRD_TOKN=x"},
    ),
    Mistake(
        "a number with its unit",
        "process",
        "TRACKER_TICK_INTERVAL_MS: Input should be a valid integer",
        {"TRACKER_TICK_INTERVAL_MS": "10s"},
    ),
    Mistake("a port out of range", "collect --port 99999", "Input should be less than or equal to 65535", exit_code=2),
    Mistake(
        "a switch that is neither true nor false",
        "collect",
        "TRACKER_COOKIE_SECURE: Input should be a valid boolean",
        {"TRACKER_COOKIE_SECURE": "maybe"},
    ),
    Mistake(
        "a log level that does not exist",
        "sink",
        "TRACKER_LOG_LEVEL: the value has a wrong form (got 'verbose')",
        {"TRACKER_LOG_LEVEL": "verbose"},
    ),
    Mistake("a command is misspelt", "colect", "No such command 'colect'", exit_code=2),
    Mistake(
        "Kafka's address without a port",
        "topics create",
        "TRACKER_KAFKA_BOOTSTRAP: 'kafka-1' has no port; write host:port, such as kafka-1:9092",
        {"TRACKER_KAFKA_BOOTSTRAP": "kafka-1"},
    ),
    Mistake(
        "Kafka's address as a URL",
        "process",
        "TRACKER_KAFKA_BOOTSTRAP: 'http://kafka-1:9092' is a URL; write host:port, such as kafka-1:9092",
        {"TRACKER_KAFKA_BOOTSTRAP": "http://kafka-1:9092"},
    ),
    Mistake(
        "no Kafka at the address",
        "topics check",
        "no Kafka answers at localhost:{free} (TRACKER_KAFKA_BOOTSTRAP)",
        {"TRACKER_KAFKA_BOOTSTRAP": "localhost:{free}"},
    ),
    Mistake(
        "a password for Kafka, but no protocol that uses it",
        "topics check",
        "TRACKER_KAFKA_SASL_PASSWORD is set, but TRACKER_KAFKA_SECURITY_PROTOCOL=plaintext logs in without it",
        {"TRACKER_KAFKA_SASL_PASSWORD": "x"},
    ),
    Mistake(
        "a protocol with a login, but no mechanism",
        "topics check",
        "TRACKER_KAFKA_SECURITY_PROTOCOL=sasl_ssl needs TRACKER_KAFKA_SASL_MECHANISM",
        {**SASL, "TRACKER_KAFKA_SASL_USERNAME": "x", "TRACKER_KAFKA_SASL_PASSWORD": "x"},
    ),
    Mistake(
        "a mechanism that Kafka does not know",
        "topics check",
        "TRACKER_KAFKA_SASL_MECHANISM: Input should be 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-512'",
        {"TRACKER_KAFKA_SASL_MECHANISM": "scram"},
    ),
    Mistake(
        "a CA file that is not there",
        "topics check",
        "TRACKER_KAFKA_SSL_CA_FILE={dir}/ca.pem",
        {"TRACKER_KAFKA_SECURITY_PROTOCOL": "ssl", "TRACKER_KAFKA_SSL_CA_FILE": "{dir}/ca.pem"},
    ),
    Mistake(
        "a CA file that is none",
        "topics check",
        "TRACKER_KAFKA_SSL_CA_FILE={dir}/ca.pem holds no certificate in PEM",
        {"TRACKER_KAFKA_SECURITY_PROTOCOL": "ssl", "TRACKER_KAFKA_SSL_CA_FILE": "{dir}/ca.pem"},
        files={"ca.pem": "hello"},
    ),
    Mistake(
        "a client certificate without its key",
        "topics check",
        "TRACKER_KAFKA_SSL_CERT_FILE and TRACKER_KAFKA_SSL_KEY_FILE go together: set both or neither",
        {"TRACKER_KAFKA_SECURITY_PROTOCOL": "ssl", "TRACKER_KAFKA_SSL_CERT_FILE": "{dir}/c.pem"},
    ),
    Mistake(
        "the collector open to the world without keys",
        "collect --host 0.0.0.0",
        "set TRACKER_KEYS_FILE (docs/collect.md), or TRACKER_COLLECT_OPEN=true",
    ),
    Mistake(
        "a processor open to other machines without a secret",
        "process --host 0.0.0.0",
        "set TRACKER_INTERNAL_TOKEN, the same for all stages (docs/security.md)",
    ),
    Mistake(
        "a keys file that is not there", "collect", "can't read the keys file (TRACKER_KEYS_FILE) {dir}/keys.toml", KEYS
    ),
    Mistake(
        "a keys file with a mistake in it",
        "collect",
        "the keys file (TRACKER_KEYS_FILE) {dir}/keys.toml is not TOML",
        KEYS,
        files={"keys.toml": "[[write_keys]"},
    ),
    Mistake(
        "a key without a workspace",
        "collect",
        "write_keys.0.workspace_id: Field required",
        KEYS,
        files={"keys.toml": '[[write_keys]]\nname = "a"\nkey = "0123456789abcdef"\n'},
    ),
    Mistake(
        "quotas, but nothing is counted",
        "collect",
        "set TRACKER_USAGE_COUNTED=true here and for the processors",
        KEYS,
        files={"keys.toml": '[[quotas]]\nworkspace_id = "w1"\nevents_per_day = 1000\n'},
    ),
    Mistake(
        "a trusted proxy that is no network",
        "collect",
        "TRACKER_TRUSTED_PROXIES: 'proxy.example.com'",
        {"TRACKER_TRUSTED_PROXIES": "proxy.example.com"},
    ),
    Mistake(
        "cookies for other sites without HTTPS",
        "collect",
        "browsers refuse TRACKER_COOKIE_SAME_SITE=none without TRACKER_COOKIE_SECURE=true",
        {"TRACKER_COOKIE_SAME_SITE": "none", "TRACKER_COOKIE_SECURE": "false"},
    ),
    Mistake(
        "a geo database that is not there",
        "collect",
        "{dir}/geo.mmdb",
        {"TRACKER_GEO_DATABASE": "{dir}/geo.mmdb"},
    ),
    Mistake(
        "the collector's port is taken",
        "collect",
        "can't listen on 127.0.0.1:{taken} (Address already in use): set TRACKER_COLLECT_PORT to a free port",
        {"TRACKER_COLLECT_PORT": "{taken}"},
    ),
    Mistake(
        "the collector's metrics port is taken",
        "collect",
        "set TRACKER_COLLECT_METRICS_PORT to a free port",
        {"TRACKER_COLLECT_PORT": "{free}", "TRACKER_COLLECT_METRICS_PORT": "{taken}"},
    ),
    Mistake(
        "the processor's port is taken",
        "process",
        "can't listen on 127.0.0.1:{taken} (Address already in use): set TRACKER_PROCESS_PORT to a free port",
        {"TRACKER_PROCESS_PORT": "{taken}"},
    ),
    Mistake(
        "the sink's port is taken",
        "sink",
        "can't listen on 127.0.0.1:{taken} (Address already in use): set TRACKER_SINK_PORT to a free port",
        {"TRACKER_SINK_PORT": "{taken}"},
    ),
    Mistake(
        "a data directory that is a file",
        "process",
        "TRACKER_DATA_DIR has to be writable",
        {"TRACKER_DATA_DIR": "{dir}/file"},
        files={"file": ""},
    ),
    Mistake(
        "a worker's name with a slash",
        "process",
        "TRACKER_WORKER_ID: the value has a wrong form (got 'a/b')",
        {"TRACKER_WORKER_ID": "a/b"},
    ),
    Mistake(
        "Tinybird's address without http",
        "sink",
        "TRACKER_TINYBIRD_URL: the value has a wrong form (got 'api.tinybird.co')",
        {"TRACKER_TINYBIRD_URL": "api.tinybird.co"},
    ),
    Mistake(
        "a tracing address without http",
        "collect",
        "TRACKER_TRACING_ENDPOINT: the value has a wrong form (got 'localhost:4318')",
        {"TRACKER_TRACING_ENDPOINT": "localhost:4318"},
    ),
    Mistake(
        "tracing without its extra",
        "process",
        "pip install 'event-tracker[tracing]'",
        {"TRACKER_TRACING_ENDPOINT": "http://localhost:4318"},
        without=("opentelemetry.sdk",),
    ),
    Mistake(
        "the local Tinybird without its extra",
        "local tinybird",
        "chdb is not installed: pip install 'event-tracker[local]'",
        without=("chdb",),
    ),
    Mistake(
        "tracker dev without its extra",
        "dev",
        "honcho is not installed: pip install 'event-tracker[local]'",
        without=("honcho.colour",),
    ),
    Mistake(
        "the demo without its extra",
        "demo",
        "chdb is not installed: pip install 'event-tracker[local]'",
        {"TRACKER_TINYBIRD_URL": "http://localhost:{free}"},
        without=("chdb",),
    ),
    Mistake(
        "the demo's check without its extra",
        "demo --check",
        "playwright is not installed: pip install 'event-tracker[demo]'",
        without=("playwright.async_api",),
    ),
    Mistake(
        "Parquet without its extra",
        "import --name a --dry-run a.parquet",
        "Parquet needs pyarrow: pip install 'event-tracker[parquet]'",
        files={"a.parquet": ""},
        without=("pyarrow", "pyarrow.parquet"),
    ),
    Mistake(
        "the local Kafka without Java",
        "local kafka",
        "no java in JAVA_HOME={dir}",
        {"JAVA_HOME": "{dir}", "TRACKER_KAFKA_BOOTSTRAP": "localhost:{free}"},
    ),
    Mistake(
        "the local Kafka on another machine",
        "local kafka",
        "TRACKER_KAFKA_BOOTSTRAP=kafka-1:9092: the local stack needs localhost:PORT here",
        {"TRACKER_KAFKA_BOOTSTRAP": "kafka-1:9092"},
    ),
    Mistake(
        "tracker dev while its port is taken",
        "dev --port {taken}",
        "port {taken} is taken (Address already in use); stop what uses it or set TRACKER_COLLECT_PORT to another",
    ),
    Mistake(
        "a file to import that is not there",
        "import --name a --dry-run nothing.ndjson",
        "nothing.ndjson: No such file or directory",
    ),
    Mistake(
        "a file to import without a known name",
        "import --name a --dry-run events.txt",
        "events.txt: what format is it? Give --format",
        files={"events.txt": ""},
    ),
    Mistake(
        "a replay that shall compare and write",
        "replay --compare --datasource a,b",
        "--compare writes nothing: leave out --datasource",
    ),
    Mistake("a time that is none", "verify --from yesterday", "'yesterday' is no time; write it as 2026-11-24T03:00Z"),
    Mistake(
        "a dead letter's name without a partition",
        "dead-letters show 17",
        "'17' names no dead letter; they are called PARTITION:OFFSET, such as 3:17",
    ),
    Mistake(
        "a migration without its file",
        "migration show",
        "there is no flags file: set TRACKER_MIGRATION_FILE or give --file",
    ),
)


def page() -> str:
    """Return docs/mistakes.md."""
    shown = {"dir": "…", "taken": 8000, "free": 9092}
    rows = [
        f"| {mistake.what} | `tracker {mistake.command}` | {mistake.says} |".format(**shown) for mistake in MISTAKES
    ]
    return "\n".join(
        [
            "# Mistakes that are easily made",
            "",
            "Each leads to one line on stderr that names the setting or option and the way out, and to exit code 1",
            "(2 where the command line itself is wrong). `tracker -v …` adds the traceback. A test makes each of them.",
            "",
            "| the mistake | for example | what is said |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    print(page(), end="")
