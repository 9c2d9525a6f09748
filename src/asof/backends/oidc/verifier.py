"""Checks a token's signature, issuer, audience and times, and turns its claims into grants."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import jwt

from asof.backends.oidc.jwks import PublishedKeys
from asof.errors import UnauthenticatedError
from asof.plan.access import Grant, Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asof.services.policy import Oidc, Rule

_log = logging.getLogger("asof.oidc")
_REQUIRED = ["exp", "iss", "aud"]


class OidcVerifier:
    """Verifies the tokens of one issuer; safe to share between threads."""

    def __init__(self, settings: Oidc, rules: tuple[Rule, ...], keys: PublishedKeys | None = None) -> None:
        """Give to tokens what `rules` say of their claims."""
        self._settings = settings
        self._rules = [(rule.claims, _grant(rule)) for rule in rules]
        self._keys = keys or PublishedKeys(settings.jwks_url)

    def verify(self, token: str, now_us: int) -> Principal:
        """Return whom a token names, with the grants that rules give to its claims.

        Raises:
            UnauthenticatedError: it is no token, or one that is forged, expired, or meant for another service.
            StoreError: the issuer's keys cannot be had.
        """
        claims = self._claims(token, now_us)
        name = claims.get(self._settings.name_claim)
        if not isinstance(name, str) or not name:
            raise _refused(f"it has no claim {self._settings.name_claim}")
        held = _values(claims, self._settings.roles_claim)
        grants = tuple(grant for wanted, grant in self._rules if held.intersection(wanted))
        return Principal(f"user:{name}", grants, int((claims["exp"] + self._settings.leeway_s) * 1e6))

    def _claims(self, token: str, now_us: int) -> dict[str, Any]:
        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in settings.algorithms:
                raise _refused("it is not signed as it should be")
            key = self._keys.find(kid if isinstance(kid, str) else None, algorithm)
            if key is None:
                raise _refused("its issuer has no such key")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=settings.issuer,
                audience=settings.audience,
                # Times are compared below, with the clock that everything else goes by.
                options={"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            _log.info("a token was refused: %s", error)
            raise _refused("it is malformed or forged, or for somebody else") from error
        now_s, leeway_s = now_us / 1e6, settings.leeway_s
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        if any(not isinstance(time, int | float) or isinstance(time, bool) for time in times.values()):
            raise _refused("its times are no numbers")
        if times["exp"] + leeway_s <= now_s:
            raise _refused("it has expired")
        if max(times.get("nbf", now_s), times.get("iat", now_s)) > now_s + leeway_s:
            raise _refused("it is not valid yet")
        return claims


def _grant(rule: Rule) -> Grant:
    return Grant(**{name: getattr(rule, name) for name in Grant.__struct_fields__})


def _values(claims: Mapping[str, Any], path: str) -> set[str]:
    """Return the texts at a path; a claim whose own name has dots goes first."""
    found: Any = claims
    for part in [path] if path in claims else path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        return {found}
    return {value for value in found if isinstance(value, str)} if isinstance(found, list) else set()


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError("The token is not valid", why=why.capitalize(), fix="Get a new one from its issuer.")
