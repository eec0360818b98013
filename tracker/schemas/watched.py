"""The folder of schemas, read again whenever it changes: a stage that runs learns of new versions."""

from pathlib import Path

import structlog

from topics.schemas import NO_SCHEMAS, Schemas
from tracker.processes.watched_file import WatchedFile, file_fingerprint
from tracker.schemas.files import read_schemas, schema_files

log = structlog.get_logger()


def watched_schemas(folder: Path | None) -> tuple[Schemas, WatchedFile[Schemas] | None]:
    """Return the schemas of a folder, and what watches it: while that runs, further schemas are known from then on.

    A version that has changed or is gone stays as it was, with a line in the log. None: there are no own event types.

    Raises:
        ConfigurationError: the folder is not there, or a file in it can't be used.
    """
    if folder is None:
        return NO_SCHEMAS, None

    def learn() -> None:
        further = file.value.documents.keys() - schemas.documents.keys()
        schemas.learn(file.value)
        if further:
            log.info(
                "further schemas are known", schemas=[f"{each.event_type}/{each.version}" for each in sorted(further)]
            )

    file = WatchedFile(
        folder,
        read_schemas,
        what="folder of schemas",
        check=why_not,
        on_change=learn,
        fingerprint=_folder_fingerprint,
    )
    schemas = file.value
    return schemas, file


def why_not(old: Schemas, new: Schemas) -> str | None:
    """Say why the new schemas may not follow the old ones; None: they may."""
    for schema, document in old.documents.items():
        name = f"{schema.event_type}/{schema.version}"
        if schema not in new.documents:
            return f"{name} is gone; a released version stays, because the log has events of it"
        if new.documents[schema] != document:
            return f"{name} has changed; a released version never does: write a further one"
    return None


def _folder_fingerprint(folder: Path) -> object:
    return [(path, file_fingerprint(path)) for path in schema_files(folder)]
