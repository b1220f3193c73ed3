"""The shared series store: a server of the Redis protocol, many processes, each object changed by one script at a time.

``add`` writes what arrives at once, unsettled, so that another process sees it; the answers of one object are then the
same whichever processes read its alerts. Every call is a constant number of round trips, however large the batch.

An ``exclusive`` store refuses a batch of which an object has unsettled rows of another batch: until those are settled
or removed nobody can tell whether they will count. All of a batch is entered, or nothing, so that nobody waits for
somebody who waits; a process that died is followed by the next owner of its partitions, who settles or removes.

Weaknesses: how lasting a settled batch is depends on the server (``appendonly yes``; with ``appendfsync everysec`` a
crash of its machine can lose a second). Scripts touch totals of the whole store, so a Redis Cluster is not supported.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from redis import exceptions

from broker_filter.errors import ConfigurationError, ContendedError, FatalError
from broker_filter.logs import facts, logger
from broker_filter.records import Observation
from broker_filter.series.inspection import Inspector
from broker_filter.series.redis import scripts
from broker_filter.series.redis.entries import incarnation_of, integer_of, key_of_member, unsettled_of
from broker_filter.series.redis.server import TIMEOUT_S, Answer, asking, connect
from broker_filter.series.rows import (
    ORDER_BYTES,
    decode_body,
    decode_embedding,
    encode_body,
    encode_embedding,
    encode_front,
    front_bytes,
    front_is_sound,
    join_fronts,
    object_prefix,
    offset_of,
    order_of,
    parse_order,
    place_name,
    rank_key,
    rank_of,
    sortable_id,
    sortable_order,
)
from broker_filter.series.store import (
    Change,
    CorruptStoreError,
    Embedding,
    FrameKey,
    HeldSeries,
    Inspection,
    Pixels,
    StoreStats,
    Unsettled,
    WholeSeries,
)

NAMESPACE, EARLIER_NAMESPACE = "ictc3", "ictc1"  # the digit is the version of the store; 2 kept its rows in the latter
CLAIM_WAIT_S, CLAIM_POLL_S = 2.0, 0.02  # for another batch that has an object in work
EVICT_AT_ONCE = 64  # objects
SETTLE_AT_ONCE = 1000  # rows left by a crash
INSPECT_AT_ONCE = 256  # objects
RANK_BYTES = 4
SCRIPTS = (
    scripts.ADD,
    scripts.READ,
    scripts.SETTLE,
    scripts.DROP,
    scripts.SETTLE_BELOW,
    scripts.EVICT,
    scripts.PUT_WHOLE,
)
log = logger("store")


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
    exclusive
        Let batches of the same object wait for one another: for deliveries that commit offsets with the outputs.

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
        exclusive: bool = False,
    ) -> None:
        self._server = connect(url, timeout_s)
        self._limits, self._store, self._exclusive = (max_objects, max_bytes), namespace, exclusive
        self._evicted = self._damaged_rows = 0
        self._just_added: dict[FrameKey, Pixels] = {}
        self._sha = dict(zip(SCRIPTS, self._asking(self._load_scripts), strict=True))
        if namespace == NAMESPACE:
            self._asking(self._refuse_version_2)
        self._incarnation = self._asking(lambda: incarnation_of(self._server.get(f"{self._store}:incarnation") or b""))

    def _load_scripts(self) -> list[str]:
        pipe = self._server.pipeline(transaction=False)
        for script in SCRIPTS:
            pipe.script_load(script)
        return pipe.execute()

    def _refuse_version_2(self) -> None:
        earlier = self._server.zcard(f"{EARLIER_NAMESPACE}:silence")
        if earlier and not self._server.exists(f"{self._store}:incarnation"):
            raise ConfigurationError(
                f"the series store on this server is of version 2 ({earlier} objects): stop every process that uses it "
                "and run ictc-store migrate, which keeps every series"
            )

    def _name(self) -> str:
        """Name a store that has none: a new one, or one whose server came back empty."""
        self._server.set(f"{self._store}:incarnation", uuid.uuid4().hex, nx=True)
        return incarnation_of(self._server.get(f"{self._store}:incarnation"))

    @property
    def incarnation(self) -> str:
        """Name of this store's contents, as of the last ``add``; empty before the first. See store.SeriesStore."""
        return self._incarnation

    def _asking(self, ask: Callable[[], Answer]) -> Answer:
        """Ask at the one door where errors are translated; a server that restarted has forgotten the scripts."""

        def ask_again_with_scripts() -> Answer:
            try:
                return ask()
            except exceptions.NoScriptError:
                self._load_scripts()
                return ask()

        return asking(ask_again_with_scripts)

    def _base(self, key: str) -> str:
        object_prefix(key)  # refuses keys that are too long
        return f"{self._store}:{key}"

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Insert what arrived and read its objects, in one round trip. See store.SeriesStore.

        Raises
        ------
        ContendedError
            Another batch has waited too long for its end; only where the store is exclusive.
        """
        by_key: dict[str, dict[int, Observation]] = {}
        for key, observation in arrivals:
            by_key.setdefault(key, {}).setdefault(observation.alert_id, observation)
        if not by_key:
            return {}
        answers, name = self._enter(by_key)
        self._incarnation = incarnation_of(name) if name is not None else self._asking(self._name)
        self._just_added = {}
        for (key, observations), answer in zip(by_key.items(), answers, strict=True):
            for observation, fresh in zip(observations.values(), answer[4], strict=True):
                if fresh:
                    frame = FrameKey(key, observation.time_mjd, observation.alert_id)
                    self._just_added[frame] = Pixels(observation.pixels, observation.scale_njy)
        return {key: self._series(key, answer) for key, answer in zip(by_key, answers, strict=True)}

    def read(self, keys: Sequence[str]) -> dict[str, HeldSeries]:
        """Series as they are held, in one round trip. See store.SeriesStore."""
        keys = list(dict.fromkeys(keys))
        answers = self._asking(partial(self._send_reads, keys))
        held = {key: self._series(key, answer) for key, answer in zip(keys, answers, strict=True)}
        return {key: series for key, series in held.items() if len(series.heads)}

    def _send_reads(self, keys: Sequence[str]) -> list[Any]:
        pipe = self._server.pipeline(transaction=False)
        for key in keys:
            pipe.evalsha(self._sha[scripts.READ], 1, self._base(key))
        return pipe.execute()

    def _series(self, key: str, answer: Sequence[Any]) -> HeldSeries:
        """One object's series from an answer of the server; what fails its check leaves the store."""
        dropped, horizon, heads, embeddings, _ = answer
        fronts, damaged_ids = [], []
        for name, head in zip(heads[::2], heads[1::2], strict=True):
            front = head[ORDER_BYTES:]
            if front_is_sound(front, key):
                fronts.append(front)
            else:
                damaged_ids.append(name)
        sound: dict[int, Embedding] = {}
        damaged_ranks = []
        for rank, row in zip(embeddings[::2], embeddings[1::2], strict=True):
            if len(rank) != RANK_BYTES:
                damaged_ranks.append(rank)
                continue
            try:
                sound[rank_of(rank)] = decode_embedding(row, key)
            except CorruptStoreError:
                damaged_ranks.append(rank)
        if damaged_ids or damaged_ranks:
            self._drop(key, damaged_ids, damaged_ranks)
        oldest = parse_order(horizon) if len(horizon) == ORDER_BYTES else None
        return HeldSeries(key, integer_of(dropped, f"the rows dropped of {key}"), oldest, *join_fronts(fronts), sound)

    def _drop(self, key: str, ids: Sequence[bytes], ranks: Sequence[bytes] = ()) -> None:
        """Delete rows that fail their check, or whose pixels the server has lost."""
        arguments: list[Any] = [self._base(key), self._store, len(ids), *ids, *ranks]
        gone = self._asking(lambda: self._server.evalsha(self._sha[scripts.DROP], 2, *arguments))
        self._damaged_rows += int(gone)
        log.error("damaged rows are deleted", extra=facts(store=self._store, object=key, rows=int(gone)))

    def _enter(self, by_key: Mapping[str, Mapping[int, Observation]]) -> tuple[list[Any], bytes | None]:
        """The answer for each object, and the store's name; waits where another batch has an object in work."""
        deadline_s = time.monotonic() + CLAIM_WAIT_S
        while True:
            *answers, name = self._with_room(partial(self._send_arrivals, by_key))
            contended = next((answer for answer in answers if isinstance(answer, int)), None)
            if contended is None:
                return [of_object for answer in answers for of_object in answer], name
            if time.monotonic() > deadline_s:
                raise ContendedError(
                    f"another batch works on alerts of {list(by_key)[contended]}: its outputs are not committed yet"
                )
            time.sleep(CLAIM_POLL_S)

    def _send_arrivals(self, by_key: Mapping[str, Mapping[int, Observation]]) -> list[Any]:
        arguments = {key: self._arguments(key, observations) for key, observations in by_key.items()}
        pipe = self._server.pipeline(transaction=False)
        together = [list(by_key)] if self._exclusive else [[key] for key in by_key]
        for keys in together:
            bases = [self._base(key) for key in keys]
            sent = [one for key in keys for one in arguments[key]]
            pipe.evalsha(self._sha[scripts.ADD], 1 + len(keys), self._store, *bases, int(self._exclusive), *sent)
        pipe.get(f"{self._store}:incarnation")
        return pipe.execute()

    def _arguments(self, key: str, observations: Mapping[int, Observation]) -> list[Any]:
        arguments: list[Any] = [key, len(observations)]
        for observation in observations.values():
            body = encode_body(observation)
            front = encode_front(observation, False, key, body)
            head = sortable_order(*observation.order) + front
            arguments += [sortable_id(observation.alert_id), observation.time_mjd, offset_of(front), head, body]
        return arguments

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Read pixels in one round trip, none when all have just arrived. See store.SeriesStore."""
        pixels = {frame: self._just_added[frame] for frame in frames if frame in self._just_added}
        wanted = [frame for frame in frames if frame not in pixels]
        if not wanted:
            return pixels
        for frame, (head, body) in zip(wanted, self._asking(partial(self._read_rows, wanted)), strict=True):
            if head is None:
                continue  # it has left
            try:
                pixels[frame] = decode_body(head[ORDER_BYTES:], body or b"", frame.key, frame.alert_id)
            except CorruptStoreError:
                self._drop(frame.key, [sortable_id(frame.alert_id)])
        return pixels

    def _read_rows(self, frames: Sequence[FrameKey]) -> list[tuple[bytes | None, bytes | None]]:
        pipe = self._server.pipeline(transaction=True)
        for frame in frames:
            name, base = sortable_id(frame.alert_id), self._base(frame.key)
            pipe.hget(f"{base}:h", name)  # type: ignore[arg-type] # field names are bytes here
            pipe.hget(f"{base}:p", name)  # type: ignore[arg-type]
        answers = pipe.execute()
        return list(zip(answers[::2], answers[1::2], strict=True))

    def refuse_without_room(self, changes: Sequence[Change]) -> None:
        """Do nothing: ``add`` has found room for the arrivals. See store.SeriesStore."""

    def prepare(self, changes: Sequence[Change]) -> None:
        """Do nothing: ``add`` has written the arrivals. See store.SeriesStore."""

    def settle(self, changes: Sequence[Change]) -> None:
        """Settle a delivered batch in one transaction, then evict when full. See store.SeriesStore."""
        if changes:
            self._with_room(partial(self._send_changes, changes))

    def _send_changes(self, changes: Sequence[Change]) -> list[Any]:
        pipe = self._server.pipeline(transaction=True)
        for change in changes:
            arguments: list[Any] = [change.hold_limit, change.group_size, len(change.settled), len(change.withdrawn)]
            arguments += [sortable_id(alert_id) for alert_id in (*change.settled, *change.withdrawn)]
            for rank, embedding in change.embeddings.items():
                arguments += [rank_key(rank), encode_embedding(embedding, change.key)]
            pipe.evalsha(self._sha[scripts.SETTLE], 2, self._base(change.key), self._store, *arguments)
        pipe.evalsha(self._sha[scripts.EVICT], 1, self._store, *self._limits, 0)
        *answers, evicted = pipe.execute()
        self._evicted += evicted
        return answers

    def put_whole(self, series: Sequence[WholeSeries]) -> None:
        """Keep whole series of another store, each in one step. See store.SeriesStore."""
        self._with_room(partial(self._send_whole, series))
        self._incarnation = self._asking(self._name)

    def _send_whole(self, series: Sequence[WholeSeries]) -> list[Any]:
        pipe = self._server.pipeline(transaction=False)
        for one in series:
            horizon = b"" if one.horizon is None else sortable_order(*one.horizon)
            arguments: list[Any] = [one.key, one.newest_mjd, one.dropped, horizon, len(one.rows)]
            for row in one.rows:
                order, start = order_of(row), front_bytes(row)
                arguments += [sortable_id(order[1]), sortable_order(*order) + row[:start], row[start:]]
            for rank, row in one.embeddings.items():
                arguments += [rank_key(rank), row]
            pipe.evalsha(self._sha[scripts.PUT_WHOLE], 2, self._base(one.key), self._store, *arguments)
        pipe.evalsha(self._sha[scripts.EVICT], 1, self._store, *self._limits, 0)
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
            make_room = partial(
                self._server.evalsha, self._sha[scripts.EVICT], 1, self._store, *self._limits, EVICT_AT_ONCE
            )
            self._evicted += self._asking(make_room)
            return self._asking(send)

    def stats(self) -> StoreStats:
        """Count what all processes hold; evictions are our own."""
        names = ["objects", "observations", "bytes"]
        counts = self._asking(lambda: self._server.hmget(f"{self._store}:totals", names))
        objects, observations, size = (integer_of(count or 0, "its totals") for count in counts)
        return StoreStats(objects, observations, size, self._evicted, self._damaged_rows)

    def refuse_evicting_server(self) -> None:
        """A server that drops whatever keys it likes takes single rows out of series.

        Raises
        ------
        ConfigurationError
        """
        try:
            policy = str(self._server.config_get("maxmemory-policy").get("maxmemory-policy", ""))
        except exceptions.ResponseError:  # without the right to ask
            return
        if policy.startswith("allkeys"):
            raise ConfigurationError(
                f"the series store's server has maxmemory-policy {policy}, which drops single rows of series: set "
                "noeviction (store.byte_limit lets the longest-silent objects go as a whole)"
            )

    def unsettled(self, topic: str, partition: int) -> list[Unsettled]:
        """Unsettled observations that a partition brought. See store.SeriesStore."""
        waiting = self._waiting(topic, partition)
        members: list[Any] = self._asking(lambda: self._server.zrange(waiting, 0, -1, withscores=True))
        rows = [unsettled_of(member, offset) for member, offset in members]
        if None in rows:  # names no row: nothing waits for it
            nobodys = [member for (member, _), row in zip(members, rows, strict=True) if row is None]
            self._damaged_rows += int(self._asking(lambda: self._server.zrem(waiting, *nobodys)))
            log.error("damaged rows are deleted", extra=facts(store=self._store, rows=len(nobodys)))
        return [row for row in rows if row is not None]

    def settle_below(self, topic: str, partition: int, offset: int) -> int:
        """Settle what a partition brought before ``offset``. See store.SeriesStore."""
        place, settled = place_name(topic, partition), 0
        settle = partial(
            self._server.evalsha, self._sha[scripts.SETTLE_BELOW], 1, self._store, place, offset, SETTLE_AT_ONCE
        )
        while True:
            looked_at, some = self._asking(settle)
            settled += some
            if looked_at < SETTLE_AT_ONCE:
                return settled

    def _waiting(self, topic: str, partition: int) -> bytes:
        return f"{self._store}:unsettled:".encode() + place_name(topic, partition)

    def inspect(self) -> Inspection:
        """Read and check every row. See store.SeriesStore."""
        inspector = Inspector()
        for members in self._members():
            keys = []
            for member in members:
                try:
                    keys.append(key_of_member(member))
                except CorruptStoreError as error:
                    inspector.complain(str(error))
            for key, (heads, bodies, embeddings) in zip(keys, self._asking(partial(self._whole, keys)), strict=True):
                rows = [head[ORDER_BYTES:] + bodies.get(name, b"") for name, head in heads.items()]
                inspector.look(object_prefix(key), None, rows, list(embeddings.values()))
        stats = self.stats()
        inspector.compare((stats.objects, stats.observations), stats.observations)
        return inspector.result()

    def _members(self) -> Iterator[list[bytes]]:
        """Keys of objects as they stand there, some at a time."""
        start = 0
        while True:
            stop = start + INSPECT_AT_ONCE - 1
            members: list[Any] = self._asking(partial(self._server.zrange, f"{self._store}:silence", start, stop))
            if not members:
                return
            yield members
            start += INSPECT_AT_ONCE

    def _whole(self, keys: Sequence[str]) -> list[tuple[dict[bytes, bytes], dict[bytes, bytes], dict[bytes, bytes]]]:
        pipe = self._server.pipeline(transaction=True)
        for key in keys:
            for kind in "hpe":
                pipe.hgetall(f"{self._base(key)}:{kind}")
        answers = pipe.execute()
        return list(zip(answers[::3], answers[1::3], answers[2::3], strict=True))

    def close(self) -> None:
        """Close the connections; closing twice does nothing."""
        self._server.close()
