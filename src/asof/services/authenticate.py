"""Who asks: API keys and tokens checked against what is known of them, and remembered for two seconds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from asof.errors import AsofError, StoreError, UnauthenticatedError
from asof.services.keys import PREFIX, by_id, verify_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof.clock import Clock
    from asof.interfaces.access import AccessStore, KeyRecord, TokenVerifier
    from asof.plan.access import Principal

FRESH_S = 2.0
"""How long an answer is remembered: a revoked key is refused, and a new one known, after this at most."""
STALE_S = 300.0
"""How long keys are taken that cannot be looked up again because the registry does not answer."""
_MOST = 10_000
_LONGEST = 16_384


class Authenticator:
    """Knows who a credential stands for. Safe to share between threads.

    `known` is a dictionary look-up. Python compares the credential itself only where its keyed hash is equal, so how
    long that takes tells nothing about other people's credentials.
    """

    def __init__(
        self,
        store: AccessStore,
        clock: Clock,
        tokens: TokenVerifier | None = None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check keys against `store`, and tokens by `tokens`; None takes no tokens."""
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._keys: dict[str, KeyRecord] = {}
        self._read_s = float("-inf")
        self._tried_s = float("-inf")
        self._remembered: dict[bytes | str, tuple[float, Principal]] = {}

    def known(self, credential: bytes | str) -> Principal | None:
        """Return whom a credential stood for a moment ago, or None if it has to be verified (again)."""
        found = self._remembered.get(credential)
        if found is None or found[0] <= self._monotonic_s():
            return None
        return found[1]

    def verify(self, credential: bytes | str) -> Principal:
        """Return whom a credential stands for; may read the registry or fetch an issuer's keys.

        Raises:
            UnauthenticatedError: nobody.
            StoreError: it cannot be found out at present.
        """
        try:
            text = credential.decode("ascii") if isinstance(credential, bytes) else credential
        except UnicodeDecodeError:
            text = ""
        now_us, started_s = self._clock.now_us(), self._monotonic_s()
        if text.startswith(PREFIX):
            principal = verify_key(text, self._current(started_s), now_us)
        elif self._tokens is not None and 0 < len(text) <= _LONGEST:
            principal = self._tokens.verify(text, now_us)
        else:
            raise UnauthenticatedError(
                "The credential is neither an API key nor a token that is taken here",
                fix="Send `Authorization: Bearer KEY`, or set ASOF_API_KEY or ASOF_TOKEN.",
            )
        until_s = started_s + FRESH_S
        if principal.expires_us is not None:
            until_s = min(until_s, started_s + (principal.expires_us - now_us) / 1e6)
        with self._lock:
            if len(self._remembered) >= _MOST:
                self._remembered.clear()
            self._remembered[credential] = until_s, principal
        return principal

    def _current(self, now_s: float) -> dict[str, KeyRecord]:
        """Return the keys; whoever comes while they are read waits, so wrong keys cost one query in two seconds."""
        with self._lock:
            if now_s - self._tried_s < FRESH_S and self._read_s == self._tried_s:
                return self._keys
            self._tried_s = now_s
            try:
                self._keys = by_id(self._store.all_keys())
            except AsofError as error:
                if now_s - self._read_s > STALE_S:
                    raise StoreError(
                        "API keys cannot be checked", why=str(error), fix="Bring the registry back, then try again."
                    ) from error
                return self._keys
            self._read_s = now_s
            return self._keys
