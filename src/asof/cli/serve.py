"""`asof serve`: the HTTP server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.serve_limits import limit_options
from asof.cli.session import Session, pass_session

if TYPE_CHECKING:
    from asof.server.limits import Limits


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=6566, show_default=True, help="Port to listen on; 0 lets the system choose.")
@click.option("--workers", default=1, show_default=True, help="Processes that share the port.")
@click.option("--push", is_flag=True, help="Take pushed rows, too. Default: the server reads only.")
@click.option("--read-only", is_flag=True, help="Never write: stores that cannot be written are enough.")
@click.option("--access-log", is_flag=True, help="Write a JSON line per request to stdout.")
@limit_options
@pass_session
def command(
    session: Session, host: str, port: int, workers: int, push: bool, read_only: bool, access_log: bool, limits: Limits
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
    from asof.errors import InputError
    from asof.server.run import Settings, listen, serve  # loads the server, which --help does not need

    if push and read_only:
        raise InputError("A server that only reads takes no pushed rows", fix="Leave out --push or --read-only.")

    root = find_root(Path(session.directory))
    settings = Settings(load_config(root, os.environ), host, port, workers, limits, access_log, push, read_only)
    with listen(settings) as bound:
        address, chosen = bound.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {root} on http://{shown}:{chosen} (docs at /docs)", err=True)
        serve(settings, bound)
