"""What an administrator changes on a topic, waited for: a broker learns from its controller a moment later."""

from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.patience import PATIENCE_SECONDS
from tracker.kafka.admin import connect, describe_configs
from tracker.local.stack import wait_until
from tracker.settings import Settings


async def alter_topic(settings: Settings, topic: str, config: Mapping[str, str]) -> None:
    """Give a topic, by its full name, this configuration and nothing besides, and wait until it is in force."""
    async with connect(settings) as admin:

        async def is_in_force() -> bool:
            return (await describe_configs(admin, {topic: config.keys()}))[topic] == config

        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(config))])
        await wait_until("the new configuration", PATIENCE_SECONDS, is_in_force)
