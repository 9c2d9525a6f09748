"""How much each client may ask for: requests and keys per second, by token buckets."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.server.refusals import OverBudgetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

_MOST_CLIENTS = 10_000


@dataclass
class _Bucket:
    """What a client has left, as of an instant; below zero it owes."""

    requests: float
    keys: float
    at_s: float


class Budgets:
    """What the clients of one worker have left. A full bucket is one second's worth; None has no limit.

    A request is let through while anything is left, and may then leave a debt: one for more keys than a second's worth
    is possible, and has to be waited for afterwards.

    Attributes:
        limited: Whether there is any limit.
    """

    def __init__(
        self, requests: float | None, keys: float | None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Give every client that many requests and keys per second, by a clock."""
        self._requests = math.inf if requests is None else requests
        self._keys = math.inf if keys is None else keys
        self.limited = requests is not None or keys is not None
        self._clock_s = clock_s
        self._clients: OrderedDict[str, _Bucket] = OrderedDict()

    def request(self, client: str) -> None:
        """Take one request.

        Raises:
            OverBudgetError: none is left, or keys are owed.
        """
        bucket = self._bucket(client)
        if bucket.requests < 1:
            raise _over(client, "requests", self._requests, 1 - bucket.requests)
        if bucket.keys <= 0:
            raise _over(client, "keys", self._keys, -bucket.keys)
        bucket.requests -= 1

    def keys(self, client: str, count: int) -> None:
        """Take the keys of a request that was let through."""
        self._bucket(client).keys -= count

    def _bucket(self, client: str) -> _Bucket:
        now_s = self._clock_s()
        bucket = self._clients.pop(client, None)
        if bucket is None:
            if len(self._clients) >= _MOST_CLIENTS:
                self._clients.popitem(last=False)
            bucket = _Bucket(max(self._requests, 1.0), self._keys, now_s)
        else:
            passed_s = max(now_s - bucket.at_s, 0.0)
            bucket.requests = _filled(bucket.requests, self._requests, passed_s)
            bucket.keys = _filled(bucket.keys, self._keys, passed_s)
            bucket.at_s = now_s
        self._clients[client] = bucket
        return bucket


def _filled(left: float, rate: float, passed_s: float) -> float:
    return rate if rate == math.inf else min(max(rate, 1.0), left + rate * passed_s)


def _over(client: str, what: str, rate: float, lacking: float) -> OverBudgetError:
    return OverBudgetError(
        f"{client} asks for more than {rate:g} {what} per second",
        why="That is what one client may ask one worker of this server for",
        fix="Send them more slowly, or raise --client-requests and --client-keys.",
        retry_after_s=max(1, math.ceil(lacking / rate)),
    )


def client_of(scope: Scope) -> str:
    """Return who asks: whom the server has recognised, else the address."""
    known = scope.get("state", {}).get("client")
    if known:
        return str(known)
    return scope["client"][0] if scope.get("client") else "a local client"
