"""What runs inside the server, so that it happens in one step."""

READ = """
local answers = {}
local at = 2
for request = 1, tonumber(ARGV[1]) do
  local field, count = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local found = redis.call('HMGET', KEYS[1], field, field .. '\\1', field .. '\\2')
  local values = {}
  if found[1] then
    local first = redis.call('HMGET', found[2], '')
    for start = 0, count - 1, 4000 do
      local stop = math.min(start + 3999, count - 1)
      for i, value in ipairs(redis.call('HMGET', found[2], unpack(ARGV, at + start, at + stop))) do
        values[start + i] = value
      end
    end
    answers[request] = {found[1], found[3] or '0', first[1] or false, values}
  else
    answers[request] = {false, false, false, values}
  end
  at = at + count
end
return answers
"""
"""Read several views. KEYS: the pointers. ARGV: how many requests; for each the view, how many keys, the keys.

Answers for each: the pointer, how many keys it holds, the mark of its values, the values.
"""

SWITCH = """
local old = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[1] .. '\\1')
if (old[1] or '') ~= ARGV[2] then return {0, old[1] or ''} end
if redis.call('HDEL', KEYS[2], KEYS[3]) == 0 then return {2, ''} end
local count = redis.call('HLEN', KEYS[3]) - 1
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3], ARGV[1] .. '\\1', KEYS[3], ARGV[1] .. '\\2', count)
if old[2] then redis.call('UNLINK', old[2]) end
return {1, ''}
"""
"""Switch in a generation. KEYS: the pointers, those being written, its values. ARGV: the view, its pointer as it was
seen, as it is to be. Answers 1, or 0 and the pointer where that is another one, or 2 where the values are gone.
"""

UPDATE = """
local at = 2
for change = 1, tonumber(ARGV[1]) do
  local values, gone = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if (redis.call('HGET', KEYS[1], ARGV[at]) or '') ~= ARGV[at + 1] then return 0 end
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
be, how many values and how many keys to forget, keys and values in turn, the keys to forget. Answers 0 where a pointer
is another one by now: then nothing is written.
"""

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""Give up a lock that is still one's own. KEYS: the lock. ARGV: who holds it."""

RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
"""Keep a lock. KEYS: the lock. ARGV: who holds it, for how many milliseconds."""
