"""The series store that settings name. Apart from the rest, so that store tools do not wait for torch."""

from broker_filter.config import StoreSettings
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import SeriesStore


def open_store(settings: StoreSettings, exclusive: bool = False) -> SeriesStore:
    """The store of series; ``exclusive`` as in RedisSeriesStore, an embedded store has one process alone.

    Raises
    ------
    ConfigurationError
        When it cannot be opened or belongs to another process.
    """
    if settings.kind == "redis" and settings.url is not None:
        url = settings.url.get_secret_value()
        return RedisSeriesStore(url, settings.object_limit, settings.byte_limit, exclusive=exclusive)
    return LmdbSeriesStore(settings.path, settings.object_limit, settings.byte_limit, settings.sync)
