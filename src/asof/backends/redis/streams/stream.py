"""A Redis server that topics are consumed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.backends.redis.failures import consuming
from asof.backends.redis.streams.consumer import RedisConsumer
from asof.backends.redis.streams.membership import Membership
from asof.errors import StreamRefusedError

if TYPE_CHECKING:
    from asof.backends.redis.settings import Settings
    from asof.interfaces import Positions

_CONNECT_S = 5.0
_REPLY_S = 30.0


class RedisStream:
    """Makes consumers; holds no connection itself."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self._settings = settings

    def consume(self, topic: str, group: str, positions: Positions) -> RedisConsumer:
        """Join a group as a new member.

        Raises:
            StreamError: the server cannot be reached; a retry may help.
            StreamRefusedError: there is no such key, or the server refuses this user.
            ConfigError: the client refuses an option.
        """
        settings = self._settings
        names = [str(number) for number in range(settings.partitions)]
        keys = {name: f"{topic}.{name}" for name in names} if settings.partitions > 1 else {"0": topic}
        client = settings.connect(connect_s=_CONNECT_S, reply_s=_REPLY_S)
        with consuming(topic):
            known = client.exists(*keys.values())
        if not known:
            client.close()
            raise StreamRefusedError(
                f"Redis has no stream {topic!r}",
                why=f"None of {', '.join(keys.values())} is there" if settings.partitions > 1 else "",
                fix="Correct the topic or `partitions`, or create it: XGROUP CREATE key asof $ MKSTREAM.",
            )
        membership = Membership(client, topic, group, partitions=settings.partitions, lease_ms=settings.lease_ms)
        wait_s = min(settings.lease_ms / 3000, _REPLY_S / 3)
        return RedisConsumer(client, topic, keys, positions, membership, wait_s)
