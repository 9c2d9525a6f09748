"""How a server may be reached: nobody is served beyond this machine unasked, and TLS where there is a certificate."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Tls:
    """The files of TLS, PEM.

    Attributes:
        certificate: The server's, followed by those of its issuers.
        key: The private key, without a passphrase.
        client_ca: Clients must show a certificate that one of these issued; None asks for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def options(self) -> dict[str, Any]:
        """Return what the server is started with.

        Raises:
            ConfigError: a file cannot be read, or the key is not the certificate's.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "The files of TLS cannot be used",
                why=str(error),
                fix="Give PEM files to --tls-cert, --tls-key and --tls-client-ca; the key is the certificate's.",
            ) from error
        found: dict[str, Any] = {"ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}
        if self.client_ca is not None:
            found |= {"ssl_ca_certs": str(self.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return found


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_open(host: str, *, access: bool, insecure: bool) -> None:
    """Return if a server may listen on an address.

    Raises:
        ConfigError: others would reach it, and it asks nobody who they are.
    """
    if access or insecure or is_loopback(host):
        return
    raise ConfigError(
        f"The server does not listen on {host} while access is off",
        why="Whoever reaches that address could read every feature",
        fix="Turn access on: make a key with `asof key create`, or set ASOF_ACCESS=on. "
        "Where something else keeps others out, say --insecure.",
    )


def _no_passphrase() -> str:
    raise ValueError("the private key has a passphrase")
