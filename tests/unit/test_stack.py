"""What children of ``tracker dev`` are told, and how a start is refused."""

import socket

import pytest
from pydantic import SecretStr

from tracker.errors import ConfigurationError, RetryableError
from tracker.local.ports import free_port
from tracker.local.stack import addresses, environment, running_stack, wait_until
from tracker.settings import Settings


def test_a_child_reads_the_very_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(collect_port=8123, tinybird_token=SecretStr("abc"), session_timeout_seconds=7, log_json=True)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_what_only_reads_has_a_token_of_its_own_or_the_common_one() -> None:
    common = Settings(tinybird_token=SecretStr("append"), _env_file=None)
    assert common.tinybird_reader.get_secret_value() == "append"
    own = common.model_copy(update={"tinybird_read_token": SecretStr("read")})
    assert own.tinybird_reader.get_secret_value() == "read"
    assert "read" not in repr(own.tinybird_read_token)


def test_addresses_show_the_local_token_and_no_other() -> None:
    assert "Bearer local'" in addresses(Settings())["SQL"]
    shown = " ".join(addresses(Settings(tinybird_token=SecretStr("p.secret"))).values())
    assert "p.secret" not in shown


async def test_a_taken_port_is_refused_before_anything_starts() -> None:
    def nothing(*_: object) -> None:
        raise AssertionError("nothing may start")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} is taken.*TRACKER_COLLECT_PORT"):
            async with running_stack(Settings(collect_port=port), write_line=nothing, say=nothing):
                pass


async def test_an_absent_broker_on_another_machine_is_not_started_here() -> None:
    settings = Settings(
        collect_port=free_port(),
        collect_metrics_port=free_port(),
        process_port=free_port(),
        sink_port=free_port(),
        kafka_bootstrap="kafka.invalid:9092",
        tinybird_url="https://tinybird.invalid",
    )
    with pytest.raises(ConfigurationError, match="no Kafka answers at TRACKER_KAFKA_BOOTSTRAP"):
        async with running_stack(settings, write_line=lambda *_: None, say=lambda _: None):
            pass


async def test_what_never_becomes_ready_is_named() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(RetryableError, match="the moon is not ready after 0 s"):
        await wait_until("the moon", 0.0, never)
