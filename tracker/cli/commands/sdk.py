"""``tracker sdk``: what a page needs to load tracker.js."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="What a page needs to load tracker.js.")


@app.callback()
def sdk() -> None:
    """Get what a page needs to load tracker.js."""


@app.command()
def snippet(
    endpoint: Annotated[str, typer.Argument(help="The collector's origin, or that of a proxy.")],
    *,
    key: Annotated[str, typer.Option(help="The write key.")] = "",
    nonce: Annotated[str, typer.Option(help="For a content security policy with a nonce.")] = "",
    newest: Annotated[
        bool, typer.Option("--newest", help="Load /tracker.js, which changes with each release.")
    ] = False,
) -> None:
    """Print the HTML that loads tracker.js: a queue for early calls, and the script, pinned by version and hash.

    Example: tracker sdk snippet https://collect.example.com --key THE-WRITE-KEY
    """
    from tracker.collect.api.script_files import snippet as html

    typer.echo(html(endpoint, key, nonce, is_pinned=not newest))
