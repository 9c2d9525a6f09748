"""Tokens of an OpenID Connect issuer, checked with the keys that it publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.errors import ConfigError

if TYPE_CHECKING:
    from asof.interfaces.access import TokenVerifier
    from asof.services.policy import Oidc, Rule

__all__ = ["open_verifier"]


def open_verifier(settings: Oidc, rules: tuple[Rule, ...]) -> TokenVerifier:
    """Return what checks the issuer's tokens; nothing is fetched yet.

    Raises:
        ConfigError: the library for tokens is not installed.
    """
    try:
        from asof.backends.oidc.verifier import OidcVerifier
    except ModuleNotFoundError as error:
        if error.name not in ("jwt", "cryptography"):
            raise
        raise ConfigError("The library for tokens is not installed", fix='Run `pip install "asof[oidc]"`.') from error
    return OidcVerifier(settings, rules)
