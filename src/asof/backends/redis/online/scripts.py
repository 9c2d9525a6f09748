"""What runs inside the server, so that it happens in one step."""

from __future__ import annotations

import hashlib

READ = """
local answers = {}
local at = 2
for request = 1, tonumber(ARGV[1]) do
  local field, last = ARGV[at], at + 1 + tonumber(ARGV[at + 1])
  local found = redis.call('HMGET', KEYS[1], field, field .. '\\1', field .. '\\2')
  local answer = {found[1], found[3]}
  if found[1] then
    for start = at + 2, last, 4000 do
      answer[#answer + 1] = redis.call('HMGET', found[2] or '', unpack(ARGV, start, math.min(start + 3999, last)))
    end
  end
  answers[request] = answer
  at = last + 1
end
return answers
"""
"""Read several views. KEYS: the pointers. ARGV: how many requests; for each the view, how many keys, the keys.

Answers for each: the pointer, how many keys it holds, and the values, at most 4000 in a list.
"""

READ_SHA = hashlib.sha1(READ.encode()).hexdigest()  # noqa: S324 # the name that Redis gives it

SWITCH = """
local old = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[1] .. '\\1')
if (old[1] or '') ~= ARGV[2] then return {0, 0} end
if redis.call('HGET', KEYS[3], '') ~= ARGV[4] then return {2, 0} end
local count = redis.call('HLEN', KEYS[3]) - 1
if old[2] then redis.call('UNLINK', old[2]) end
redis.call('HDEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3], ARGV[1] .. '\\1', KEYS[3], ARGV[1] .. '\\2', count)
return {1, count}
"""
"""Switch in a generation. KEYS: the pointers, those being written, its values. ARGV: the view, its pointer as it was
seen, as it is to be, the mark of the last values written. Answers 1 and how many keys it holds, or 0 where the pointer
is another one, or 2 where the values, or the last of them, are gone.

Here and below, keys that are not among KEYS are touched before anything is written: a node of a cluster that gives a
slot away may lack them, and ends the script there.
"""

SWITCH_SHA = hashlib.sha1(SWITCH.encode()).hexdigest()  # noqa: S324 # likewise

DISCARD = """
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('HEXISTS', KEYS[1], KEYS[2]) == 1 then redis.call('UNLINK', KEYS[2]) end
if ARGV[2] == '' then redis.call('HDEL', KEYS[1], KEYS[2]) end
return 1
"""
"""Delete values, unless they were switched in. KEYS: those being written, the values. ARGV: when their writer had shown
itself last, or nothing where that is no matter; something where they stay among those being written.
"""

DROP = """
local values = redis.call('HGET', KEYS[1], ARGV[1] .. '\\1')
if (values or '') ~= ARGV[2] then return 0 end
if values then redis.call('UNLINK', values) end
redis.call('HDEL', KEYS[1], ARGV[1], ARGV[1] .. '\\1', ARGV[1] .. '\\2')
return 1
"""
"""Delete a view, unless its values are others by now. KEYS: the pointers. ARGV: the view, its values as they were seen.
"""

UPDATE = """
local at = 2
for change = 1, tonumber(ARGV[1]) do
  local values, gone = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local found = redis.call('HMGET', KEYS[1], ARGV[at], ARGV[at] .. '\\1')
  if (found[1] or '') ~= ARGV[at + 1] then return 0 end
  if redis.call('HEXISTS', found[2] or '', '') == 0 and values + gone > 0 then return -change end
  at = at + 5 + 2 * values + gone
end
at = 2
for change = 1, tonumber(ARGV[1]) do
  local field, values, gone = ARGV[at], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local hash = redis.call('HGET', KEYS[1], field .. '\\1')
  local from = at + 5
  for start = from, from + 2 * values - 1, 4000 do
    redis.call('HSET', hash, unpack(ARGV, start, math.min(start + 3999, from + 2 * values - 1)))
  end
  from = from + 2 * values
  for start = from, from + gone - 1, 4000 do
    redis.call('HDEL', hash, unpack(ARGV, start, math.min(start + 3999, from + gone - 1)))
  end
  redis.call('HSET', KEYS[1], field, ARGV[at + 2], field .. '\\2', redis.call('HLEN', hash) - 1)
  at = at + 5 + 2 * values + gone
end
return 1
"""
"""Change views. KEYS: the pointers. ARGV: how many changes; for each the view, its pointer as it was seen, as it is to
be, how many values and how many keys to forget, keys and values in turn, the keys to forget. Answers 1; or 0 where a
pointer is another one by now, or -n where the values of the nth view are gone: then nothing is written.
"""

UPDATE_SHA = hashlib.sha1(UPDATE.encode()).hexdigest()  # noqa: S324 # likewise

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""Give up a lock that is still one's own. KEYS: the lock. ARGV: who holds it."""

RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
"""Keep a lock. KEYS: the lock. ARGV: who holds it, for how many milliseconds."""
