"""The list of what each process may do: named as the deployment names things, and no more than is needed."""

import json

import pytest
from typer.testing import CliRunner, Result

from tracker.cli.app import app
from tracker.kafka.acls import PROCESSES, commands, needs


def acls(*arguments: str) -> Result:
    environment = {"TRACKER_TOPIC_PREFIX": "shop.", "TRACKER_KAFKA_BOOTSTRAP": "k:1"}
    return CliRunner(env=environment).invoke(app, ["topics", "acls", *arguments], prog_name="tracker")


@pytest.mark.parametrize("process", PROCESSES)
def test_every_name_is_the_deployments(process: str) -> None:
    assert all(need.name.startswith("shop.") for need in needs(process, "shop.") if need.resource != "cluster")


def test_a_stage_can_not_make_or_delete_topics_and_only_the_processor_writes_the_changelog() -> None:
    for stage in ("collect", "process", "sink"):
        assert not {"Create", "Delete"} & {operation for need in needs(stage, "t.") for operation in need.operations}
    writers = {
        process
        for process in PROCESSES
        for need in needs(process, "t.")
        if need.name == "t.sessions-changelog" and "Write" in need.operations
    }
    assert writers == {"process"}


def test_commands_allow_each_principal_what_it_needs() -> None:
    given = list(commands("k:1", "t.", {"import": "User:a b"}))
    assert given[0] == (
        "kafka-acls.sh --bootstrap-server k:1 --command-config admin.properties --add --allow-principal 'User:a b' "
        "--operation Create --operation Read --operation Write --operation Delete --operation Describe "
        "--topic t.import. --resource-pattern-type prefixed"
    )
    assert given[-1].endswith("--operation IdempotentWrite --cluster")


def test_the_command_shows_them_as_a_list_as_commands_and_as_json() -> None:
    shown = acls("--process", "sink", "--principal", "sink=User:out")
    assert shown.output.startswith("User:out\n  topic shop.events.sequenced")
    assert "User:tracker-collect" not in shown.output
    assert len(acls("--commands").output.splitlines()) == sum(len(needs(process, "")) for process in PROCESSES)
    rows = json.loads(acls("--json").output)
    assert {row["principal"] for row in rows} == {f"User:tracker-{process}" for process in PROCESSES}
    assert rows[0]["operations"] == ["Write", "Describe"]


@pytest.mark.parametrize("arguments", [("--process", "sinc"), ("--principal", "sink=out"), ("--principal", "sink")])
def test_a_name_that_means_nothing_is_refused(arguments: tuple[str, ...]) -> None:
    refused = acls(*arguments)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("tracker: ")
