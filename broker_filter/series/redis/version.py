"""The migration of a shared store from version 2 to 3: object by object to new names, each in one step.

Version 2 kept its rows under ``ictc1``, with fronts and bodies without digests. An object leaves the old names in the
same transaction in which it gets its new ones, so that a migration that was interrupted goes on where it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from broker_filter.logs import facts, logger
from broker_filter.series import version2
from broker_filter.series.redis.entries import key_of_member
from broker_filter.series.redis.scripts import ROW_OVERHEAD_BYTES
from broker_filter.series.redis.server import TIMEOUT_S, asking, connect
from broker_filter.series.redis.store import EARLIER_NAMESPACE, NAMESPACE
from broker_filter.series.rows import ORDER_BYTES, CorruptStoreError, front_bytes, place_of

log = logger("store")
Rows = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration has done."""

    objects: int
    dropped_rows: int  # that were damaged before


def migrate(url: str, namespace: str = NAMESPACE, earlier: str = EARLIER_NAMESPACE) -> Migrated:
    """Make version 3 of the store of version 2 on a server; no other process may use either.

    Raises
    ------
    ConfigurationError
        When the server refuses us.
    RetryableError
        When it does not answer.
    """
    with connect(url, TIMEOUT_S) as server:
        objects = dropped = 0
        while members := asking(lambda: server.zrange(f"{earlier}:silence", 0, 0, withscores=True)):
            ((name, newest),) = members  # type: ignore[misc]
            try:
                key = key_of_member(name)
            except CorruptStoreError as error:  # nobody's rows
                log.error("a damaged object is not migrated", extra=facts(what=str(error)))
                asking(lambda: server.zrem(f"{earlier}:silence", name))  # noqa: B023
                dropped += 1
                continue
            dropped += asking(lambda: _move(server, namespace, earlier, key, newest))  # noqa: B023
            objects += 1
        asking(lambda: server.delete(f"{earlier}:totals"))
    log.info("the series store is of version 3", extra=facts(objects=objects, dropped_rows=dropped))
    return Migrated(objects, dropped)


def _move(server: redis.Redis, namespace: str, earlier: str, key: str, newest_mjd: float) -> int:
    """Move one object; returns how many damaged rows were left behind."""
    old, new = f"{earlier}:{key}", f"{namespace}:{key}"
    heads, bodies, embeddings, known = (_table(server, f"{old}:{kind}") for kind in "hpem")
    rows, dropped = _rows(heads, bodies, key)
    ranks, dropped_ranks = _embeddings(embeddings, key)
    size = sum(len(head) + len(body) + ROW_OVERHEAD_BYTES for head, body in rows.values())
    size += sum(map(len, ranks.values()))
    with server.pipeline(transaction=True) as pipe:
        for name, (head, body) in rows.items():
            pipe.hset(f"{new}:h", name, head)  # type: ignore[arg-type] # names are bytes here
            pipe.hset(f"{new}:p", name, body)  # type: ignore[arg-type]
        for rank, row in ranks.items():
            pipe.hset(f"{new}:e", rank, row)  # type: ignore[arg-type]
        if rows:
            for field in (b"dropped", b"horizon"):
                if field in known:
                    pipe.hset(f"{new}:m", field, known[field])  # type: ignore[arg-type]
            pipe.hset(f"{new}:m", "bytes", str(size))
            pipe.zadd(f"{namespace}:silence", {key: newest_mjd})
            for total, number in (("objects", 1), ("observations", len(rows)), ("bytes", size)):
                pipe.hincrby(f"{namespace}:totals", total, number)
        pipe.delete(*(f"{old}:{kind}" for kind in "hpem"))
        pipe.zrem(f"{earlier}:silence", key)
        pipe.execute()
    return dropped + dropped_ranks


def _table(server: redis.Redis, name: str) -> dict[bytes, bytes]:
    return server.hgetall(name)  # type: ignore[return-value] # bytes, for no decoding is asked for


def _rows(heads: Rows, bodies: Rows, key: str) -> tuple[dict[bytes, tuple[bytes, bytes]], int]:
    """Of each alert its new head (order and front) and body; and how many were damaged."""
    rows, damaged = {}, 0
    for name, head in heads.items():
        try:
            row = version2.observation_of(head[ORDER_BYTES:] + bodies.get(name, b""), key)
        except CorruptStoreError as error:
            damaged += 1
            log.error("a damaged row is not migrated", extra=facts(object=key, what=str(error)))
            continue
        front = row[: front_bytes(row)]
        assert place_of(front) is None  # version 2 did not know positions, so that nothing waits to be settled
        rows[name] = (head[:ORDER_BYTES] + front, row[len(front) :])
    return rows, damaged


def _embeddings(embeddings: Rows, key: str) -> tuple[dict[bytes, bytes], int]:
    rows, damaged = {}, 0
    for rank, row in embeddings.items():
        try:
            rows[rank] = version2.embedding_of(row, key)
        except CorruptStoreError as error:
            damaged += 1
            log.error("a damaged row is not migrated", extra=facts(object=key, what=str(error)))
    return rows, damaged
