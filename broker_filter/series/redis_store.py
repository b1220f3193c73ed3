"""The shared series store: a server of the Redis protocol, many processes, each object changed by one script at a time.

``add`` writes what arrives at once, unsettled, so that another process sees it; the answers of one object are then the
same whichever processes read its alerts. Every call is a constant number of round trips, however large the batch.

Weaknesses: how lasting a settled batch is depends on the server (``appendonly yes``; with ``appendfsync everysec`` a
crash of its machine can lose a second). Scripts touch totals of the whole store, so a Redis Cluster is not supported.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import redis
from redis import exceptions

from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.records import Observation
from broker_filter.series.rows import (
    decode_embedding,
    decode_fronts,
    decode_pixels,
    encode_body,
    encode_embedding,
    encode_front,
    object_prefix,
    parse_order,
    rank_key,
    rank_of,
    sortable_id,
    sortable_order,
)
from broker_filter.series.store import Change, FrameKey, HeldSeries, Pixels, StoreStats

NAMESPACE = "ictc1"  # the digit is the version of the keys; rows have one of their own
TIMEOUT_S = 5.0  # of one answer; the service tries the batch again
EVICT_AT_ONCE = 64  # objects
ORDER_BYTES = 16
# Answers of a server that somebody is about to mend: its disk is full, its replicas are away, it waits for its primary.
PASSING = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN")

# Keys of an object: :h alert id -> order, head and history, :p alert id -> scale and pixels, :e rank of a group ->
# embedding, :m dropped, horizon, bytes.
# Of the store: :silence objects by newest observation, :totals objects, observations, bytes.
# Lua compares strings by the server's locale, therefore byte by byte here.
_SHARED_LUA = """
local ROW_OVERHEAD = 150
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
"""

_ADD_LUA = (
    _SHARED_LUA
    + """
local base, store, key = KEYS[1], KEYS[2], ARGV[1]
local horizon = redis.call('HGET', base .. ':m', 'horizon')
local new_object = redis.call('EXISTS', base .. ':h') == 0 and 1 or 0
local inserted, bytes, count, newest = {}, 0, 0, nil
for i = 2, #ARGV, 4 do
  local id, time, head, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local fresh = 0
  if not horizon or before(horizon, head:sub(1, 16)) then
    fresh = redis.call('HSETNX', base .. ':h', id, head)
  end
  if fresh == 1 then
    redis.call('HSET', base .. ':p', id, body)
    redis.call('ZADD', store .. ':silence', 'GT', time, key)
    bytes, count = bytes + #head + #body + ROW_OVERHEAD, count + 1
  end
  inserted[#inserted + 1] = fresh
end
if count > 0 then grow(base, store, bytes, count, new_object) end
local dropped = redis.call('HGET', base .. ':m', 'dropped') or '0'
return {dropped, horizon or '', redis.call('HVALS', base .. ':h'), redis.call('HGETALL', base .. ':e'), inserted}
"""
)

_SETTLE_LUA = (
    _SHARED_LUA
    + """
local base, store = KEYS[1], KEYS[2]
local hold, group, settled = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local heads, bytes = base .. ':h', 0
local held = redis.call('HLEN', heads)
if held == 0 then return 0 end
for i = 4, 3 + settled do
  local head = redis.call('HGET', heads, ARGV[i])
  if head then redis.call('HSET', heads, ARGV[i], head:sub(1, 17) .. '\\1' .. head:sub(19)) end
end
for i = 4 + settled, #ARGV, 2 do
  bytes = bytes - redis.call('HSTRLEN', base .. ':e', ARGV[i]) + #ARGV[i + 1]
  redis.call('HSET', base .. ':e', ARGV[i], ARGV[i + 1])
end
local leaving = math.min(math.ceil(math.max(held - hold, 0) / group) * group, held - 1)
if leaving > 0 then
  local rows, all = {}, redis.call('HGETALL', heads)
  for i = 1, #all, 2 do rows[#rows + 1] = {all[i], all[i + 1]} end
  table.sort(rows, function(a, b) return before(a[2], b[2]) end)
  for i = 1, leaving do
    local id = rows[i][1]
    bytes = bytes - #rows[i][2] - redis.call('HSTRLEN', base .. ':p', id)
    redis.call('HDEL', heads, id)
    redis.call('HDEL', base .. ':p', id)
  end
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
grow(base, store, bytes - leaving * ROW_OVERHEAD, -leaving, 0)
return leaving
"""
)

# A server without memory refuses HINCRBY, but not in a script that has deleted something before.
_EVICT_LUA = """
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

Answer = TypeVar("Answer")


class RedisSeriesStore:
    """Series of any number of processes, on a server.

    Parameters
    ----------
    url
        ``redis://[user:password@]host:port/db``, or ``rediss://`` for TLS.
    max_objects, max_bytes
        Beyond either the longest-silent objects leave; all processes should say the same.
    namespace
        Before the name of every key, so that several stores can share a server.

    Raises
    ------
    ConfigurationError
        When the server refuses us.
    RetryableError
        When it does not answer.
    """

    def __init__(
        self,
        url: str,
        max_objects: int = 10_000_000,
        max_bytes: int = 64 << 30,
        namespace: str = NAMESPACE,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        try:
            self._server = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        except ValueError as error:
            raise ConfigurationError(f"store.url: {error}") from error
        self._limits, self._store = (max_objects, max_bytes), namespace
        self._evicted = 0
        self._just_added: dict[FrameKey, Pixels] = {}
        self._add_sha, self._settle_sha, self._evict_sha = self._asking(self._load_scripts)

    def _load_scripts(self) -> tuple[str, str, str]:
        pipe = self._server.pipeline(transaction=False)
        for script in (_ADD_LUA, _SETTLE_LUA, _EVICT_LUA):
            pipe.script_load(script)
        add, settle, evict = pipe.execute()
        return add, settle, evict

    def _asking(self, ask: Callable[[], Answer]) -> Answer:
        """Translate the client's errors, at this one door; a server that restarted has forgotten the scripts."""
        try:
            try:
                return ask()
            except exceptions.NoScriptError:
                self._load_scripts()
                return ask()
        except exceptions.OutOfMemoryError as error:
            raise FatalError(
                f"the series store is full ({_told(error)}): raise maxmemory or lower store.byte_limit"
            ) from error
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise ConfigurationError(
                f"the series store refuses us ({_told(error)}): check store.url and its rights"
            ) from error
        except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError) as error:
            raise RetryableError(f"the series store does not answer: {error}") from error
        except exceptions.ReadOnlyError as error:
            raise RetryableError(f"the series store is a replica now, waiting for a primary: {_told(error)}") from error
        except exceptions.RedisError as error:
            told = _told(error)
            if told.startswith(PASSING):
                raise RetryableError(f"the series store takes no writes for now: {told}") from error
            raise FatalError(f"the series store failed: {told}; it must speak Redis 6.2 or later") from error

    def _base(self, key: str) -> str:
        object_prefix(key)  # refuses keys that are too long
        return f"{self._store}:{key}"

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Insert what arrived and read its objects, in one round trip. See buffer.SeriesStore."""
        by_key: dict[str, dict[int, Observation]] = {}
        for key, observation in arrivals:
            by_key.setdefault(key, {}).setdefault(observation.alert_id, observation)
        if not by_key:
            return {}
        answers = self._with_room(partial(self._send_arrivals, by_key))
        self._just_added = {}
        held = {}
        for (key, observations), answer in zip(by_key.items(), answers, strict=True):
            dropped, horizon, fronts, embeddings, inserted = answer
            series, epochs = decode_fronts([front[ORDER_BYTES:] for front in fronts])
            kept = {
                rank_of(rank): decode_embedding(row)
                for rank, row in zip(embeddings[::2], embeddings[1::2], strict=True)
            }
            oldest = parse_order(horizon) if horizon else None
            held[key] = HeldSeries(key, int(dropped), oldest, series, epochs, kept)
            for observation, fresh in zip(observations.values(), inserted, strict=True):
                if fresh:
                    name = FrameKey(key, observation.time_mjd, observation.alert_id)
                    self._just_added[name] = Pixels(observation.pixels, observation.scale_njy)
        return held

    def _send_arrivals(self, by_key: dict[str, dict[int, Observation]]) -> list[Any]:
        pipe = self._server.pipeline(transaction=False)
        for key, observations in by_key.items():
            arguments: list[Any] = [key]
            for observation in observations.values():
                front = sortable_order(*observation.order) + encode_front(observation, settled=False)
                body = encode_body(observation)
                arguments += [sortable_id(observation.alert_id), observation.time_mjd, front, body]
            pipe.evalsha(self._add_sha, 2, self._base(key), self._store, *arguments)
        return pipe.execute()

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Read pixels in one round trip, none when all have just arrived. See buffer.SeriesStore."""
        found = {frame: self._just_added[frame] for frame in frames if frame in self._just_added}
        asked = [frame for frame in frames if frame not in found]
        if not asked:
            return found
        for frame, (head, body) in zip(asked, self._asking(partial(self._read_rows, asked)), strict=True):
            if head is not None and body is not None:
                found[frame] = decode_pixels(head[ORDER_BYTES:] + body)
        return found

    def _read_rows(self, frames: Sequence[FrameKey]) -> list[tuple[bytes | None, bytes | None]]:
        pipe = self._server.pipeline(transaction=True)
        for frame in frames:
            name, base = sortable_id(frame.alert_id), self._base(frame.key)
            pipe.hget(f"{base}:h", name)  # type: ignore[arg-type] # field names are bytes here
            pipe.hget(f"{base}:p", name)  # type: ignore[arg-type]
        answers = pipe.execute()
        return list(zip(answers[::2], answers[1::2], strict=True))

    def settle(self, changes: Sequence[Change]) -> None:
        """Settle a delivered batch in one transaction, then evict when full. See buffer.SeriesStore."""
        if changes:
            self._with_room(partial(self._send_changes, changes))

    def _send_changes(self, changes: Sequence[Change]) -> list[Any]:
        pipe = self._server.pipeline(transaction=True)
        for change in changes:
            arguments: list[Any] = [change.hold_limit, change.group_size, len(change.settled)]
            arguments += [sortable_id(alert_id) for alert_id in change.settled]
            for rank, embedding in change.embeddings.items():
                arguments += [rank_key(rank), encode_embedding(embedding)]
            pipe.evalsha(self._settle_sha, 2, self._base(change.key), self._store, *arguments)
        pipe.evalsha(self._evict_sha, 1, self._store, *self._limits, 0)
        *answers, evicted = pipe.execute()
        self._evicted += evicted
        return answers

    def _with_room(self, send: Callable[[], list[Any]]) -> list[Any]:
        """Send; when the server's memory is full, let the longest-silent objects go and send once more."""
        try:
            return self._asking(send)
        except FatalError as error:
            if not isinstance(error.__cause__, exceptions.OutOfMemoryError):
                raise
            make_room = partial(self._server.evalsha, self._evict_sha, 1, self._store, *self._limits, EVICT_AT_ONCE)
            self._evicted += self._asking(make_room)
            return self._asking(send)

    def stats(self) -> StoreStats:
        """Count what all processes hold; evictions are our own."""
        names = ["objects", "observations", "bytes"]
        counts = self._asking(lambda: self._server.hmget(f"{self._store}:totals", names))
        objects, observations, size = (int(count or 0) for count in counts)
        return StoreStats(objects, observations, size, self._evicted)

    def close(self) -> None:
        """Close the connections; closing twice does nothing."""
        self._server.close()


def _told(error: exceptions.RedisError) -> str:
    """What the server said, without the bytes that a pipeline sent."""
    return str(error).rpartition("caused error: ")[2]
