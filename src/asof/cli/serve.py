"""`asof serve`: the HTTP server."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from asof.cli.session import Session, pass_session


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=6566, show_default=True, help="Port to listen on; 0 lets the system choose.")
@click.option("--workers", default=1, show_default=True, help="Processes that share the port.")
@click.option("--max-body", default=8 * 2**20, show_default=True, help="Longest request body, in bytes.")
@click.option("--max-keys", default=10_000, show_default=True, help="Most keys in one request.")
@click.option("--push", is_flag=True, help="Take pushed rows, too. Default: the server reads only.")
@click.option(
    "--serving-log",
    multiple=True,
    metavar="SHARE",
    help="Log this share of the answers, as 0.01, or fraud=0.1 for one service; may be repeated.",
)
@click.option("--access-log", is_flag=True, help="Write a JSON line per request to stdout.")
@pass_session
def command(
    session: Session,
    host: str,
    port: int,
    workers: int,
    max_body: int,
    max_keys: int,
    push: bool,
    serving_log: tuple[str, ...],
    access_log: bool,
) -> None:
    """Serve online features over HTTP.

    Documentation is at /docs. An apply is seen within a second, without a restart. There is no
    authentication: the default address is reachable from this machine only.

    \b
        asof serve
        asof serve --port 8080 --workers 4 --push
        curl -d '{"service": "fraud", "keys": {"customer_id": [17]}}' localhost:6566/v1/online-features
    """
    from asof.config import find_root, load_config
    from asof.server.limits import Limits  # loads the server, which --help does not need
    from asof.server.run import Settings, listen, serve
    from asof.server.serving_queue import Rates

    root = find_root(Path(session.directory))
    settings = Settings(
        load_config(root, os.environ),
        host,
        port,
        workers,
        Limits(max_body, max_keys),
        access_log,
        push,
        serving_log,
    )
    Rates.parse(serving_log)  # where it is wrong, say so before anything starts
    with listen(settings) as bound:
        address, chosen = bound.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {root} on http://{shown}:{chosen} (docs at /docs)", err=True)
        serve(settings, bound)
