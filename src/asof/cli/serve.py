"""`asof serve`: the HTTP server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.serve_limits import limit_options
from asof.cli.session import Session, pass_session
from asof.errors import InputError

if TYPE_CHECKING:
    from asof.server.exposure import Tls
    from asof.server.limits import Limits

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=6566, show_default=True, help="Port to listen on; 0 lets the system choose.")
@click.option("--workers", default=1, show_default=True, help="Processes that share the port.")
@click.option("--push", is_flag=True, help="Take pushed rows, too. Default: the server reads only.")
@click.option("--read-only", is_flag=True, help="Never write: stores that cannot be written are enough.")
@click.option(
    "--serving-log",
    multiple=True,
    metavar="SHARE",
    help="Log this share of the answers, as 0.01, or fraud=0.1 for one service; may be repeated.",
)
@click.option("--access-log", is_flag=True, help="Write a JSON line per request to stdout.")
@click.option("--tls-cert", type=_FILE, help="Serve over TLS with this certificate, PEM.")
@click.option("--tls-key", type=_FILE, help="The certificate's private key, PEM.")
@click.option("--tls-client-ca", type=_FILE, help="Clients must show a certificate that one of these issued.")
@click.option("--insecure", is_flag=True, help="Let others than this machine in while access is off.")
@limit_options
@pass_session
def command(
    session: Session,
    host: str,
    port: int,
    workers: int,
    push: bool,
    read_only: bool,
    serving_log: tuple[str, ...],
    access_log: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    insecure: bool,
    limits: Limits,
) -> None:
    """Serve online features over HTTP.

    Documentation is at /docs. An apply is seen within a second, without a restart. The default address is reachable
    from this machine only; another one wants access to be on, which it is once there is a key: `asof key create`.

    \b
        asof serve
        asof serve --port 8080 --workers 4 --push
        curl -d '{"service": "fraud", "keys": {"customer_id": [17]}}' localhost:6566/v1/online-features
    """
    from asof.config import find_root, load_config
    from asof.server.run import Settings, listen, serve  # loads the server, which --help does not need
    from asof.server.serving_queue import Rates

    if push and read_only:
        raise InputError("A server that only reads takes no pushed rows", fix="Leave out --push or --read-only.")
    if serving_log and read_only:
        raise InputError("A server that only reads logs no answers", fix="Leave out --serving-log or --read-only.")
    root = find_root(Path(session.directory))
    settings = Settings(
        load_config(root, os.environ),
        host,
        port,
        workers,
        limits,
        access_log,
        push,
        serving_log,
        tls=_tls(tls_cert, tls_key, tls_client_ca),
        insecure=insecure,
        read_only=read_only,
    )
    Rates.parse(serving_log)  # where it is wrong, say so before anything starts
    with listen(settings) as bound:
        address, chosen = bound.getsockname()[:2]
        scheme = "http" if settings.tls is None else "https"
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {root} on {scheme}://{shown}:{chosen} (docs at /docs)", err=True)
        serve(settings, bound)


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    from asof.server.exposure import Tls

    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise InputError("TLS wants a certificate and its key", fix="Give both --tls-cert and --tls-key.")
    tls = Tls(certificate, key, client_ca)
    tls.options()  # what cannot be used is said before anything is served
    return tls
