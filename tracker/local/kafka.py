"""A real Kafka broker on this machine, launched from its own jars: ``tracker local kafka``, and for tests."""

import contextlib
import signal
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import structlog

from tracker.errors import RetryableError
from tracker.local.commands import run_quietly
from tracker.local.kafka_config import Guard, Node, server_properties
from tracker.local.kafka_format import BOOTSTRAP_FILE, format_like, is_formatted, new_kafka_id
from tracker.local.kafka_jars import KAFKA_VERSION, fetch_jars, find_java
from tracker.local.kafka_probe import serves
from tracker.local.ports import LOOPBACK, free_port, local_port, require_free_port
from tracker.processes.children import Child
from tracker.processes.lock import Lock, lock_directory
from tracker.settings import Settings

START_TIMEOUT_SECONDS: Final = 240.0
FORMAT_TIMEOUT_SECONDS: Final = 240.0
#: A clean stop takes about a second; after this the broker is killed, and recovers its log at the next start.
STOP_TIMEOUT_SECONDS: Final = 20.0
POLL_INTERVAL_SECONDS: Final = 0.1
SHOWN_LOG_LINES: Final = 15
_LOG4J: Final = Path(__file__).with_name("kafka-log4j2.xml")

log = structlog.get_logger()


class LocalKafka:
    """One broker on one port and one data directory; it can be stopped, killed and started again on its data.

    All methods block; none may be called from two threads at once.
    """

    def __init__(self, settings: Settings, guard: Guard | None = None, node: Node | None = None) -> None:
        self._guard = guard
        self._node = node
        self.port = local_port(settings.kafka_bootstrap, "TRACKER_KAFKA_BOOTSTRAP")
        self.data_dir = settings.data_dir.resolve() / "kafka"
        self._cache_dir = settings.cache_dir
        self._heap_mb = settings.kafka_local_heap_mb
        self._child: Child | None = None
        self._held: Lock | None = None

    @property
    def bootstrap(self) -> str:
        """The address that clients connect to."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log_file(self) -> Path:
        """The broker's log of its current or last run."""
        return self.data_dir / "logs" / "broker.log"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    def start(self) -> None:
        """Start the broker and return when it serves.

        Raises:
            ConfigurationError: if Java, Maven, the port or the data directory is not to be had.
            RetryableError: if the broker ends or does not answer in time; shows its last words.
        """
        self.launch()
        try:
            self.wait_until_it_serves()
        except BaseException:  # Ctrl-C while it comes up, too: it may already hold data
            self.stop()
            raise

    def launch(self) -> None:
        """Start the broker and return at once: of a cluster, none serves before most have started.

        Raises:
            ConfigurationError: if Java, Maven, the port or the data directory is not to be had.
        """
        require_free_port(self.port, "TRACKER_KAFKA_BOOTSTRAP")
        java = find_java()
        jars = fetch_jars(self._cache_dir)
        self._held = lock_directory(self.data_dir)
        try:
            self._launch(java, jars)
        except BaseException:
            self.kill()
            raise

    def wait_until_it_serves(self) -> None:
        """Return when the broker serves.

        Raises:
            RetryableError: if it ends or does not answer in time; shows its last words.
        """
        assert self._child is not None, "launch it first"  # noqa: S101
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not serves(self._guard.open_port if self._guard else self.port):
            if self._child.returncode is not None:
                raise RetryableError(f"the local Kafka ended with status {self._child.returncode}\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise RetryableError(
                    f"the local Kafka did not answer in {START_TIMEOUT_SECONDS} s\n{self.last_words()}"
                )
            time.sleep(POLL_INTERVAL_SECONDS)

    def wait(self) -> int:
        """Wait until the broker ends by itself or by another's hand, and return its status."""
        return self._child.wait() if self._child else 0

    def stop(self) -> None:
        """Stop cleanly; kill the broker after ``STOP_TIMEOUT_SECONDS``. Does nothing if no broker runs."""
        if self._child is not None:
            self._child.stop(STOP_TIMEOUT_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would. Does nothing if no broker runs."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._held is not None:
            self._held.release()
            self._held = None

    def restart(self) -> None:
        """Stop, and start again on the same port and data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, java: str, jars: Path) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        config = self.data_dir / "server.properties"
        log_dir = self.data_dir / "data"
        # Of a broker that is alone the controller's port needs no setting and may change: only itself talks to it.
        controller_port = self._node.controller_ports[self._node.node_id] if self._node else free_port()
        config.write_text(
            server_properties(
                port=self.port, controller_port=controller_port, log_dir=log_dir, guard=self._guard, node=self._node
            )
        )
        command = [java, "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={_LOG4J}"]
        command += [f"-Dtracker.kafka.log={self.log_file}", f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC"]
        if not is_formatted(log_dir):
            self._format(log_dir, [*command, "kafka.tools.StorageTool", "format", "-c", str(config)])
        self._child = Child("kafka", [*command, "kafka.Kafka", str(config)], output=self._output_file)

    def _format(self, log_dir: Path, tool: list[str]) -> None:
        node_id, cluster_id = (self._node.node_id, self._node.cluster_id) if self._node else (1, new_kafka_id())
        run_tool = partial(_run_tool, [*tool, "-t", cluster_id, *(self._guard.format_options() if self._guard else [])])
        if self._guard:
            run_tool()
        else:
            pattern = self._cache_dir.resolve() / f"kafka-{KAFKA_VERSION}-{BOOTSTRAP_FILE}"
            format_like(pattern, log_dir, node_id=node_id, cluster_id=cluster_id, run_tool=run_tool)

    @property
    def _output_file(self) -> Path:
        """The output of the JVM itself, apart from the broker's log."""
        return self.log_file.with_name("jvm.log")

    def last_words(self) -> str:
        """Return the last lines that the broker and its JVM wrote."""
        parts = []
        for file in (self._output_file, self.log_file):
            with contextlib.suppress(FileNotFoundError), file.open(errors="replace") as lines:
                parts += [
                    f"last lines of {file}:",
                    *(line.rstrip() for line in deque(lines, SHOWN_LOG_LINES)),
                ]
        return "\n".join(parts)


def run(settings: Settings) -> None:
    """Run the broker in the foreground until SIGTERM or SIGINT, then stop it cleanly.

    Raises:
        ConfigurationError: if it can't be started as things are.
        RetryableError: if the broker ends without being told to.
    """
    broker = LocalKafka(settings)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        log.info("Kafka starting", version=KAFKA_VERSION, data_dir=str(broker.data_dir))
        broker.start()
        log.info("Kafka ready", bootstrap=broker.bootstrap, log_file=str(broker.log_file))
        status = broker.wait()
        raise RetryableError(f"the local Kafka ended with status {status}\n{broker.last_words()}")
    except KeyboardInterrupt:
        log.info("Kafka stopping")
    finally:
        broker.stop()


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _run_tool(command: list[str]) -> None:
    answer = run_quietly(command, timeout_seconds=FORMAT_TIMEOUT_SECONDS)
    if answer.returncode != 0:
        raise RetryableError(f"the local Kafka's directory could not be formatted\n{answer.stdout.strip()}")
