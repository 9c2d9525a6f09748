"""The keys that an issuer publishes: fetched when first needed, again every five minutes, and when one is unknown."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME_S = 300.0
"""How long keys are used before they are fetched again; one that the issuer withdrew is refused after this."""
PAUSE_S = 10.0
"""How long an unknown key is not asked about again, so that forged tokens do not become requests to the issuer."""
STALE_S = 3600.0
"""How long keys are used while the issuer does not answer."""
_TIMEOUT_S = 5.0
_MOST_BYTES = 2**20
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class PublishedKeys:
    """The keys at a URL. Safe to share between threads; whoever needs them while they are fetched waits."""

    def __init__(self, url: str, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Fetch nothing yet."""
        self._url = url
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._keys: list[_Key] = []
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")

    def find(self, kid: str | None, algorithm: str) -> Any:
        """Return the public key of that id for that algorithm, or None; without an id, the only one there is.

        Raises:
            StoreError: the keys cannot be fetched.
        """
        with self._lock:
            now_s = self._monotonic_s()
            if now_s - self._fetched_s > LIFETIME_S:
                self._fetch(now_s)
            found = self._of(kid, algorithm)
            if found is None and now_s - self._tried_s > PAUSE_S:
                self._fetch(now_s)
                found = self._of(kid, algorithm)
            return found

    def _of(self, kid: str | None, algorithm: str) -> Any:
        fits = [one.key for one in self._keys if one.fits(kid, algorithm)]
        return fits[0] if len(fits) == 1 or (fits and kid is not None) else None

    def _fetch(self, now_s: float) -> None:
        usable = now_s - self._fetched_s <= STALE_S
        if now_s - self._tried_s <= PAUSE_S:
            if usable:
                return
            raise self._failed("It did not answer a moment ago")
        self._tried_s = now_s
        try:
            # The settings allow https, and http on this machine only.
            with urllib.request.urlopen(self._url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                found = json.loads(answer.read(_MOST_BYTES))
            self._keys = _signing(found)
        except (OSError, ValueError, jwt.PyJWTError) as error:
            if not usable:
                raise self._failed(str(error)) from error
            return
        self._fetched_s = now_s

    def _failed(self, why: str) -> StoreError:
        return StoreError(
            f"The keys of the tokens' issuer cannot be fetched from {self._url}",
            why=why,
            fix="Check jwks_url in access.toml, and whether the issuer is up.",
        )


@dataclass(frozen=True)
class _Key:
    key: Any
    id: str | None
    kind: str
    algorithm: str | None

    def fits(self, kid: str | None, algorithm: str) -> bool:
        return kid in (None, self.id) and self.kind == _KINDS[algorithm[:2]] and self.algorithm in (None, algorithm)


def _signing(found: object) -> list[_Key]:
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the answer is no JSON Web Key Set")
    keys = []
    for one in listed:
        # A symmetric key in a public document would let anybody sign.
        if isinstance(one, dict) and one.get("kty") in _KINDS.values() and one.get("use", "sig") == "sig":
            try:
                keys.append(_Key(jwt.PyJWK(one).key, one.get("kid"), one["kty"], one.get("alg")))
            except jwt.PyJWTError:  # of a kind that this library does not know; the others can be used
                continue
    return keys
