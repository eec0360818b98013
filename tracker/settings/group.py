"""What every group of settings is."""

from pydantic import BaseModel, ConfigDict


class SettingsGroup(BaseModel):
    """A group of settings. Only ``Settings``, which has them all, is ever filled: groups need no validator."""

    model_config = ConfigDict(defer_build=True)
