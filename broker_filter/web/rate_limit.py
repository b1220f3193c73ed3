"""Limit on a client's requests: a bucket of tokens for each address, refilled as time goes."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

CLIENTS_KEPT = 4096  # the one that was silent longest is forgotten first


class RateLimit:
    """Allows ``burst`` requests at once, and ``per_second`` in the long run, to each client."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens at a time
        self._lock = threading.Lock()

    def wait_s(self, client: str) -> float:
        """Take a token; 0 where there was one, else how long it takes until there is."""
        now = self._clock()
        with self._lock:
            tokens, since = self._buckets.pop(client, (float(self._burst), now))
            tokens = min(self._burst, tokens + self._per_second * (now - since))
            wait_s = max(0.0, (1.0 - tokens) / self._per_second)
            self._buckets[client] = (tokens - (wait_s == 0.0), now)
            if len(self._buckets) > CLIENTS_KEPT:
                self._buckets.popitem(last=False)
        return wait_s
