"""The series store that settings name. Apart from the rest, so that store tools do not wait for torch."""

from broker_filter.config import StoreSettings
from broker_filter.series.lmdb_store import LmdbSeriesStore
from broker_filter.series.redis_store import RedisSeriesStore
from broker_filter.series.store import SeriesStore


def open_store(settings: StoreSettings) -> SeriesStore:
    """The store of series.

    Raises
    ------
    ConfigurationError
        When it cannot be opened or belongs to another process.
    """
    if settings.kind == "redis" and settings.url is not None:
        return RedisSeriesStore(settings.url.get_secret_value(), settings.object_limit, settings.byte_limit)
    return LmdbSeriesStore(settings.path, settings.object_limit, settings.byte_limit, settings.sync)
