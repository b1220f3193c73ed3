"""The door to a server of the Redis protocol, at which its client's errors become ours, without passwords."""

from collections.abc import Callable
from typing import TypeVar

import redis
from redis import exceptions

from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.series.store import CorruptStoreError

TIMEOUT_S = 5.0  # of one answer; the service tries the batch again
# What a script or a command meets where somebody else has written into the store's keys.
DAMAGE = ("WRONGTYPE", "hash value is not an integer", "not a valid float", "attempt to perform arithmetic on a nil")
# Answers of a server that somebody is about to mend: its disk is full, its replicas are away, it waits for its primary.
PASSING = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN")
Answer = TypeVar("Answer")


def asking(ask: Callable[[], Answer]) -> Answer:
    """Ask a server; its client's errors become ours, without addresses and passwords.

    Raises
    ------
    FatalError
        The server is full, or fails.
    ConfigurationError
        It refuses us.
    RetryableError
        It does not answer, or takes no writes for now.
    """
    try:
        return ask()
    except exceptions.OutOfMemoryError as error:
        raise FatalError(
            f"the series store is full ({_answer_of(error)}): raise maxmemory or lower store.byte_limit"
        ) from error
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise ConfigurationError(
            f"the series store refuses us ({_answer_of(error)}): check store.url and its rights"
        ) from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError) as error:
        raise RetryableError(f"the series store does not answer: {error}") from error
    except exceptions.ReadOnlyError as error:
        raise RetryableError(
            f"the series store is a replica now, waiting for a primary: {_answer_of(error)}"
        ) from error
    except exceptions.RedisError as error:
        answer = _answer_of(error)
        if answer.startswith(PASSING):
            raise RetryableError(f"the series store takes no writes for now: {answer}") from error
        if any(sign in answer for sign in DAMAGE):
            raise damaged(answer) from error
        raise FatalError(f"the series store failed: {answer}; it must speak Redis 6.2 or later") from error


def connect(url: str, timeout_s: float) -> redis.Redis:
    """A client of a server, which is not asked yet; raises ConfigurationError where the address is none."""
    try:
        client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # made, not opened: it looks at what stands behind the ?
        return client
    except ValueError as error:
        raise ConfigurationError(f"store.url: {error}") from error
    except TypeError as error:  # its text ends with the name
        option = str(error).rpartition(" ")[2]
        raise ConfigurationError(f"store.url has an option {option} that Redis's client does not know") from error


def _answer_of(error: exceptions.RedisError) -> str:
    """What the server said, without the bytes that a pipeline sent."""
    return str(error).rpartition("caused error: ")[2]


def damaged(what: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"the series store on the server is damaged ({what}): ictc-store verify lists what it can; no alert is lost: "
        'restore a backup, or empty it and fill it from the archive (deploy/README.md, "Rebuild a lost store")'
    )
