"""Shares the partitions of a topic out among the members of a group, with leases that Redis keeps."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis

# One script, so that at each moment a partition has one owner. A member whose lease has ended is told so, because
# another may have owned its partitions in between.
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lease)
local kept = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
redis.call('ZADD', KEYS[1], now, ARGV[1])
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
local answer = {kept}
for partition = 0, tonumber(ARGV[3]) - 1 do
  local wanted = members[partition % #members + 1]
  local owner = redis.call('HGET', KEYS[2], partition)
  if owner and not redis.call('ZSCORE', KEYS[1], owner) then owner = false end
  if not owner and wanted == ARGV[1] then
    redis.call('HSET', KEYS[2], partition, ARGV[1])
    owner = ARGV[1]
  elseif owner == ARGV[1] and wanted ~= owner then
    redis.call('HDEL', KEYS[2], partition)
    owner = false
  end
  if owner == ARGV[1] then answer[#answer + 1] = partition end
end
redis.call('PEXPIRE', KEYS[1], lease * 2)
redis.call('PEXPIRE', KEYS[2], lease * 2)
return answer
"""
_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
for partition = 0, tonumber(ARGV[2]) - 1 do
  if redis.call('HGET', KEYS[2], partition) == ARGV[1] then redis.call('HDEL', KEYS[2], partition) end
end
"""


class Membership:
    """One member of a group on one topic."""

    def __init__(self, client: Redis, topic: str, group: str, *, partitions: int, lease_ms: int) -> None:
        """Prepare; the first `renew` joins."""
        self._keys = [f"asof:{{{topic}:{group}}}:members", f"asof:{{{topic}:{group}}}:owners"]
        self._name = uuid.uuid4().hex
        self._partitions = partitions
        self._lease_ms = lease_ms
        self._renew: Any = client.register_script(_RENEW)
        self._leave: Any = client.register_script(_LEAVE)

    def renew(self) -> tuple[bool, frozenset[str]]:
        """Give a sign of life.

        Returns:
            Whether the lease had held until now, and the partitions that are this member's until it ends.
        """
        kept, *owned = self._renew(keys=self._keys, args=[self._name, self._lease_ms, self._partitions])
        return bool(kept), frozenset(str(partition) for partition in owned)

    def leave(self) -> None:
        """Let the others take over at once."""
        self._leave(keys=self._keys, args=[self._name, self._partitions])
