"""The agents of a stage, on a real Faust app that is not started."""

from pathlib import Path

from tracker.settings import Settings
from tracker.streaming.app import ChunkApp, NoRestarts, add_agent, new_app
from tracker.streaming.chunk import Chunk


async def take(chunk: Chunk) -> None:
    raise NotImplementedError


def app_with_an_agent(tmp_path: Path) -> ChunkApp:
    app = new_app(Settings(_env_file=None), "process", source_topics=frozenset({"events"}), data_dir=tmp_path)
    add_agent(app, "events", take)
    return app


async def test_an_agent_has_one_instance_for_each_partition_of_its_topic_and_ends_with_it(tmp_path: Path):
    agent = app_with_an_agent(tmp_path).agents["events.chunks"]
    assert agent.name == "events.chunks"
    assert agent.channel.get_topic_name() == "events"
    assert agent.isolated_partitions
    assert agent.supervisor_strategy is NoRestarts
    assert agent.app.agents["events.chunks"] is agent


async def test_an_agent_is_made_without_a_look_for_the_files_of_all_modules(tmp_path: Path):
    """That is how Faust's decorator marks agents for its search; it takes a twentieth of a stage's start."""
    agent = app_with_an_agent(tmp_path).agents["events.chunks"]
    assert not hasattr(agent, "__venusian_callbacks__")
