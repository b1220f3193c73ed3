"""The scripts that change an object on a server of the Redis protocol, each in one step.

Keys of an object: :h alert id -> order, front; :p alert id -> scale and pixels; :e rank of a group -> embedding;
:m dropped, horizon, bytes.
Of the store: :silence objects by newest observation; :totals objects, observations, bytes; :incarnation its name;
:unsettled:<topic and partition, 12 bytes> object, zero byte, alert id by offset.
Lua compares strings by the server's locale, therefore byte by byte here. A front begins after its order's 16 bytes.
"""

from broker_filter.series.rows import ORDER_BYTES, SETTLED, SETTLED_AT, SOURCE_SLICE, UNSETTLED

ROW_OVERHEAD_BYTES = 150  # of an observation, for counting
_SETTLED_AT = ORDER_BYTES + SETTLED_AT + 1  # Lua counts from 1
_PLACE = f"{ORDER_BYTES + SOURCE_SLICE.start + 1}, {ORDER_BYTES + SOURCE_SLICE.stop}"

SHARED = f"""
local ROW_OVERHEAD = {ROW_OVERHEAD_BYTES}
local SETTLED, UNSETTLED = '\\{SETTLED}', '\\{UNSETTLED}'
local NOWHERE = string.rep('\\0', 8) .. string.rep('\\255', 4)
local function before(a, b)
  for i = 1, #a do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return false
end
local function add(name, field, number)
  redis.call('HINCRBY', name, field, string.format('%d', number))
end
local function grow(base, store, bytes, observations, objects)
  add(base .. ':m', 'bytes', bytes)
  add(store .. ':totals', 'bytes', bytes)
  add(store .. ':totals', 'observations', observations)
  add(store .. ':totals', 'objects', objects)
end
local function is_settled(head)
  return head:sub({_SETTLED_AT}, {_SETTLED_AT}) == SETTLED
end
local function settled(head)
  return head:sub(1, {_SETTLED_AT - 1}) .. SETTLED .. head:sub({_SETTLED_AT + 1})
end
local function place(store, head)
  local name = head:sub({_PLACE})
  if name == NOWHERE then return nil end
  return store .. ':unsettled:' .. name
end
local function forget(base, store, id, head)
  local key = base:sub(#store + 2)
  local waiting = not is_settled(head) and place(store, head)
  if waiting then redis.call('ZREM', waiting, key .. '\\0' .. id) end
  redis.call('HDEL', base .. ':h', id)
  local freed = #head + redis.call('HSTRLEN', base .. ':p', id) + ROW_OVERHEAD
  redis.call('HDEL', base .. ':p', id)
  return freed
end
"""

# KEYS store, objects; ARGV 1: refuse where an alert of another batch waits; of each object its key, the count of its
# arrivals, and five of each arrival. An answer for each object; or one integer, of the first object that waits.
ADD = (
    SHARED
    + """
local store, first = KEYS[1], {}
local at = 2
for i = 2, #KEYS do
  first[i] = at
  at = at + 2 + 5 * ARGV[at + 1]
end
local function waits(base, from, count)
  local heads, ours = redis.call('HGETALL', base .. ':h'), {}
  for i = from, from + 5 * (count - 1), 5 do ours[ARGV[i]] = place(store, ARGV[i + 3]) or true end
  for i = 1, #heads, 2 do
    local head = heads[i + 1]
    if not is_settled(head) and ours[heads[i]] ~= (place(store, head) or true) then return true end
  end
  return false
end
if ARGV[1] == '1' then
  for i = 2, #KEYS do
    if waits(KEYS[i], first[i] + 2, tonumber(ARGV[first[i] + 1])) then return i - 2 end
  end
end
local function add_one(base, key, from, many)
  local horizon = redis.call('HGET', base .. ':m', 'horizon')
  local new_object = redis.call('EXISTS', base .. ':h') == 0 and 1 or 0
  local inserted, bytes, count = {}, 0, 0
  for i = from, from + 5 * (many - 1), 5 do
    local id, time, offset, head, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    local fresh = 0
    if not horizon or before(horizon, head:sub(1, 16)) then
      fresh = redis.call('HSETNX', base .. ':h', id, head)
    end
    if fresh == 1 then
      redis.call('HSET', base .. ':p', id, body)
      redis.call('ZADD', store .. ':silence', 'GT', time, key)
      local waiting = place(store, head)
      if waiting then redis.call('ZADD', waiting, offset, key .. '\\0' .. id) end
      bytes, count = bytes + #head + #body + ROW_OVERHEAD, count + 1
    end
    inserted[#inserted + 1] = fresh
  end
  if count > 0 then grow(base, store, bytes, count, new_object) end
  local dropped = redis.call('HGET', base .. ':m', 'dropped') or '0'
  return {dropped, horizon or '', redis.call('HGETALL', base .. ':h'), redis.call('HGETALL', base .. ':e'), inserted}
end
local answers = {}
for i = 2, #KEYS do
  answers[i - 1] = add_one(KEYS[i], ARGV[first[i]], first[i] + 2, tonumber(ARGV[first[i] + 1]))
end
return answers
"""
)

READ = """
local base = KEYS[1]
local known = redis.call('HMGET', base .. ':m', 'dropped', 'horizon')
local heads, embeddings = redis.call('HGETALL', base .. ':h'), redis.call('HGETALL', base .. ':e')
return {known[1] or '0', known[2] or '', heads, embeddings, {}}
"""

SETTLE = (
    SHARED
    + """
local base, store = KEYS[1], KEYS[2]
local hold, group = tonumber(ARGV[1]), tonumber(ARGV[2])
local to_settle, to_withdraw = tonumber(ARGV[3]), tonumber(ARGV[4])
local heads, bytes, gone = base .. ':h', 0, 0
local key = base:sub(#store + 2)
if redis.call('EXISTS', heads) == 0 then return 0 end
for i = 5, 4 + to_settle do
  local head = redis.call('HGET', heads, ARGV[i])
  if head and not is_settled(head) then
    redis.call('HSET', heads, ARGV[i], settled(head))
    local waiting = place(store, head)
    if waiting then redis.call('ZREM', waiting, key .. '\\0' .. ARGV[i]) end
  end
end
for i = 5 + to_settle, 4 + to_settle + to_withdraw do
  local head = redis.call('HGET', heads, ARGV[i])
  if head then bytes, gone = bytes - forget(base, store, ARGV[i], head), gone + 1 end
end
local held = redis.call('HLEN', heads)
if held == 0 then
  redis.call('ZREM', store .. ':silence', key)
  grow(base, store, -tonumber(redis.call('HGET', base .. ':m', 'bytes') or 0), -gone, -1)
  redis.call('DEL', base .. ':e', base .. ':m')
  return gone
end
for i = 5 + to_settle + to_withdraw, #ARGV, 2 do
  bytes = bytes - redis.call('HSTRLEN', base .. ':e', ARGV[i]) + #ARGV[i + 1]
  redis.call('HSET', base .. ':e', ARGV[i], ARGV[i + 1])
end
local leaving = math.min(math.ceil(math.max(held - hold, 0) / group) * group, held - 1)
if leaving > 0 then
  local rows, all = {}, redis.call('HGETALL', heads)
  for i = 1, #all, 2 do rows[#rows + 1] = {all[i], all[i + 1]} end
  table.sort(rows, function(a, b) return before(a[2], b[2]) end)
  for i = 1, leaving do bytes = bytes - forget(base, store, rows[i][1], rows[i][2]) end
  redis.call('HSET', base .. ':m', 'horizon', rows[leaving][2]:sub(1, 16))
  local dropped = redis.call('HINCRBY', base .. ':m', 'dropped', leaving)
  for _, rank in ipairs(redis.call('HKEYS', base .. ':e')) do
    local a, b, c, d = rank:byte(1, 4)
    if ((a * 256 + b) * 256 + c) * 256 + d < dropped then
      bytes = bytes - redis.call('HSTRLEN', base .. ':e', rank)
      redis.call('HDEL', base .. ':e', rank)
    end
  end
end
grow(base, store, bytes, -leaving - gone, 0)
return leaving
"""
)

# Rows that failed their check, or whose pixels the server has dropped: KEYS object, store; ARGV count of observations,
# their ids, ranks of embeddings.
DROP = (
    SHARED
    + """
local base, store, count = KEYS[1], KEYS[2], tonumber(ARGV[1])
local bytes, gone = 0, 0
for i = 2, 1 + count do
  local head = redis.call('HGET', base .. ':h', ARGV[i])
  if head then bytes, gone = bytes - forget(base, store, ARGV[i], head), gone + 1 end
end
local dropped = gone
for i = 2 + count, #ARGV do
  bytes = bytes - redis.call('HSTRLEN', base .. ':e', ARGV[i])
  dropped = dropped + redis.call('HDEL', base .. ':e', ARGV[i])
end
if dropped == 0 then return 0 end
if redis.call('EXISTS', base .. ':h') == 1 then
  grow(base, store, bytes, -gone, 0)
else
  redis.call('ZREM', store .. ':silence', base:sub(#store + 2))
  grow(base, store, -tonumber(redis.call('HGET', base .. ':m', 'bytes') or 0), -gone, -1)
  redis.call('DEL', base .. ':e', base .. ':m')
end
return dropped
"""
)

# KEYS store; ARGV name of the place, offset, most rows at once.
SETTLE_BELOW = (
    SHARED
    + """
local store = KEYS[1]
local waiting = store .. ':unsettled:' .. ARGV[1]
local members = redis.call('ZRANGEBYSCORE', waiting, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
local count = 0
for _, member in ipairs(members) do
  local heads, id = store .. ':' .. member:sub(1, -10) .. ':h', member:sub(-8)
  local head = redis.call('HGET', heads, id)
  if head and not is_settled(head) then
    redis.call('HSET', heads, id, settled(head))
    count = count + 1
  end
  redis.call('ZREM', waiting, member)
end
return {#members, count}
"""
)

# A whole series of another store: KEYS object, store; ARGV key, newest time, dropped, horizon or nothing, count of
# observations, id, head and body of each, then rank and row of each embedding.
PUT_WHOLE = (
    SHARED
    + """
local base, store, key = KEYS[1], KEYS[2], ARGV[1]
local heads, known = base .. ':h', base .. ':m'
local before_bytes, before_rows = tonumber(redis.call('HGET', known, 'bytes') or 0), redis.call('HLEN', heads)
for _, id in ipairs(redis.call('HKEYS', heads)) do forget(base, store, id, redis.call('HGET', heads, id)) end
redis.call('DEL', heads, base .. ':p', base .. ':e', known)
local count, bytes = tonumber(ARGV[5]), 0
for i = 6, 5 + 3 * count, 3 do
  redis.call('HSET', heads, ARGV[i], ARGV[i + 1])
  redis.call('HSET', base .. ':p', ARGV[i], ARGV[i + 2])
  bytes = bytes + #ARGV[i + 1] + #ARGV[i + 2] + ROW_OVERHEAD
end
for i = 6 + 3 * count, #ARGV, 2 do
  redis.call('HSET', base .. ':e', ARGV[i], ARGV[i + 1])
  bytes = bytes + #ARGV[i + 1]
end
if tonumber(ARGV[3]) > 0 then redis.call('HSET', known, 'dropped', ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', known, 'horizon', ARGV[4]) end
redis.call('ZADD', store .. ':silence', ARGV[2], key)
grow(base, store, 0, count - before_rows, before_rows == 0 and 1 or 0)
add(known, 'bytes', bytes)
add(store .. ':totals', 'bytes', bytes - before_bytes)
return count
"""
)

# A server without memory refuses HINCRBY, but not in a script that has deleted something before.
EVICT = """
local store, objects, bytes, least = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local evicted = 0
while true do
  local totals = redis.call('HMGET', store .. ':totals', 'objects', 'bytes')
  local over = tonumber(totals[1] or 0) > objects or tonumber(totals[2] or 0) > bytes
  if not over and evicted >= least then return evicted end
  local key = redis.call('ZRANGE', store .. ':silence', 0, 0)[1]
  if not key then return evicted end
  local base = store .. ':' .. key
  local size, rows = redis.call('HGET', base .. ':m', 'bytes'), redis.call('HLEN', base .. ':h')
  redis.call('DEL', base .. ':h', base .. ':p', base .. ':e', base .. ':m')
  redis.call('ZREM', store .. ':silence', key)
  redis.call('HINCRBY', store .. ':totals', 'bytes', -tonumber(size or 0))
  redis.call('HINCRBY', store .. ':totals', 'observations', -rows)
  redis.call('HINCRBY', store .. ':totals', 'objects', -1)
  evicted = evicted + 1
end
"""
