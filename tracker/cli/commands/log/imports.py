"""``tracker import``: historical events from files, sessionized as they would have been live."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.commands.log.replay import Json, datasource_names, valid_name
from tracker.cli.options import DataDir, command_settings

if TYPE_CHECKING:
    from tracker.imports.records import Import, Rejects
    from tracker.settings import Settings

EXIT_REJECTED = 3
DEFAULT_WINDOW_ROWS = 500_000

Files = Annotated[list[str], typer.Argument(help="NDJSON (also .gz, .zst), CSV or Parquet; - is standard input.")]
Name = Annotated[str, typer.Option("--name", help="The import: the same name and files resume it.")]
FileFormat = Annotated[str | None, typer.Option("--format", help="ndjson, csv or parquet; else by name.")]
MappingName = Annotated[
    str | None, typer.Option(help="Which column is which field: ga4, matomo, posthog, segment, or a TOML or JSON file.")
]
WindowRows = Annotated[int, typer.Option(min=1, help="Rows that may wait for an earlier one.")]
RejectsFile = Annotated[Path | None, typer.Option("--rejects", help="Default: NAME.rejects.ndjson.")]
Datasource = Annotated[str, typer.Option(help="EVENTS,SESSIONS that rows go to.")]
LogOnly = Annotated[bool, typer.Option("--log-only", help="Write the log; fold it later with tracker replay.")]
Processes = Annotated[int | None, typer.Option(min=1, max=64, help="Processes that fold. Default: one a core.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")]


def import_(
    files: Files,
    *,
    name: Name,
    file_format: FileFormat = None,
    mapping: MappingName = None,
    window_rows: WindowRows = DEFAULT_WINDOW_ROWS,
    rejects_file: RejectsFile = None,
    datasource: Datasource = "events_v1,session_v1",
    log_only: LogOnly = False,
    processes: Processes = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Import historical events: into a log by their own time, folded by the live rules, into Tinybird.

    Events are put in order within --window-rows; sessions end as they would have live. Run again, with the same name
    and files, it goes on where it stopped and doubles nothing. Rows that can't be taken go to the reject file with
    line and reason. Exit codes: 0 done, 1 an error that the message explains, 3 done but with rejects, 130 interrupted.

    For example:

      tracker import --name spring events.ndjson.gz

      tracker import --name shop --mapping shop.toml visits-2025.parquet visits-2026.parquet

      tracker import --name ga4 --mapping ga4 --dry-run events_20250301.json.gz

      zcat old/*.gz | tracker import --name old --dry-run -
    """
    from tracker.imports.mapping import read_mapping
    from tracker.imports.records import Import, Rejects
    from tracker.imports.rows import RowMapper
    from tracker.imports.run import require_files
    from tracker.schemas.files import read_schemas
    from tracker.visitors.page import new_page_reader

    require_files(files)
    settings = command_settings(data_dir=data_dir)
    mapper = RowMapper(read_mapping(mapping), new_page_reader(settings.campaign_parameters))
    what = Import(valid_name(name), files, file_format, mapper, window_rows, read_schemas(settings.schemas_dir))
    names = None if log_only else datasource_names(datasource)
    path = None if dry_run else rejects_file or Path(f"{name}.rejects.ndjson")
    with Rejects(path) as rejects:
        code = _import(settings, what, rejects, names, processes, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(code or (EXIT_REJECTED if rejects.count else 0))


def _import(
    settings: "Settings",
    what: "Import",
    rejects: "Rejects",
    names: tuple[str, str] | None,
    processes: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    from tracker.cli.views.imports import ImportView
    from tracker.imports.run import check, import_settings, write_log

    view = ImportView(rejects, what.mapper.coverage, as_json=as_json)
    if dry_run:
        view.checked(check(what, rejects))
        return 0
    with view.writing() as on_progress:
        written = asyncio.run(write_log(settings, what, rejects, on_progress))
    view.wrote(written)
    if names is None:
        return 0
    return asyncio.run(_fold(import_settings(settings, what.name), what.name, names, processes, as_json=as_json))


async def _fold(
    settings: "Settings", name: str, names: tuple[str, str], processes: int | None, *, as_json: bool
) -> int:
    """Replay the import's log, whole, into the datasources."""
    from aiokafka import TopicPartition

    from tracker.cli.commands.log.replay import carry_out
    from tracker.imports.finished import Finished, mark_finished
    from tracker.replay.generation import Generation
    from tracker.replay.plan import Request

    events, sessions = names
    request = Request(
        name=f"import-{name}",
        target="datasource",
        events_datasource=events,
        sessions_datasource=sessions,
        keys_are_used=True,
    )
    code = await carry_out(settings, request, processes, None, dry_run=False, as_json=as_json)
    plan = Generation(settings, request.name).plan
    if code == 0 and plan is not None:
        ends = {TopicPartition(plan.source_topic, each.partition): each.until for each in plan.partitions}
        await mark_finished(settings, ends, Finished(events, sessions, plan.rules))
    return code
