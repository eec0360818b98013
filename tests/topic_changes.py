"""What an administrator changes on a topic, waited for: a broker learns from its controller a moment later."""

from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.patience import PATIENCE_SECONDS
from tracker.kafka.admin import connect, describe_broker
from tracker.local.stack import wait_until
from tracker.settings import Settings


async def alter_topic(settings: Settings, topic: str, config: Mapping[str, str]) -> None:
    """Change the configuration of one of the catalog's topics, by its full name, and wait until it is in force."""

    async def is_in_force() -> bool:
        return (await describe_broker(settings, configs=True))[topic].config.items() >= config.items()

    async with connect(settings) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(config))])
    await wait_until("the new configuration", PATIENCE_SECONDS, is_in_force)
