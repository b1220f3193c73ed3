"""The command ``ictc-store``: what a series store holds, whether it is sound, copies, another version, forgetting."""

from collections.abc import Sequence
from pathlib import Path

from broker_filter.config import StoreSettings, server_url
from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.records import LONGEST_KEY_BYTES
from broker_filter.series.backup import copy_folder, dump_server, restore_server
from broker_filter.series.lmdb.folder import require_store
from broker_filter.series.redis.version import migrate
from broker_filter.series.store import Change, SeriesStore
from broker_filter.service.store_of_settings import open_store
from broker_filter.service.store_options import NEEDS_TARGET, parser
from broker_filter.terminal import command, console
from model.commands import DONE, FAILED


@command("ictc-store", ConfigurationError, failed=(FatalError, RetryableError))
def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``ictc-store``; the exit status."""
    options = parser().parse_args(arguments)
    if (options.target is None) == (options.action in NEEDS_TARGET):
        raise ConfigurationError(f"{options.action} takes {'a' if options.target is None else 'no'} TARGET: see --help")
    if options.url:
        server_url(options.url)
    if options.action == "backup":
        target = Path(options.target)
        if options.path:
            return _say(f"{target}: {copy_folder(options.path, target)} bytes")
        return _say(f"{target}: {dump_server(options.url, target)} keys")
    if options.action == "restore":
        if options.path:
            raise ConfigurationError("the backup of an embedded store is a store: name it by store.path")
        return _say(f"{restore_server(options.url, Path(options.target))} keys restored")
    if options.action == "migrate" and options.url:
        moved = migrate(options.url)
        return _say(f"{moved.objects} objects migrated, {moved.dropped_rows} damaged rows left behind")
    if options.path:
        require_store(options.path)
    store = _open(options.path, options.url)
    try:
        return _act(store, options.action, options.target)
    finally:
        store.close()


def _open(path: Path | None, url: str | None) -> SeriesStore:
    settings = {"kind": "redis", "url": url} if url else {"kind": "lmdb", "path": path}
    return open_store(StoreSettings.model_validate(settings))


def _act(store: SeriesStore, action: str, target: str | None) -> int:
    if action == "verify":
        inspection = store.inspect()
        _say(
            f"{inspection.objects} objects, {inspection.observations} observations ({inspection.unsettled} unsettled), "
            f"{inspection.embeddings} embeddings, {inspection.damaged_count} damaged"
        )
        for line in inspection.damaged:
            _say(line)
        return FAILED if inspection.damaged_count else DONE
    if action == "forget" and target is not None:
        return _forget(store, target)
    stats = store.stats()  # an embedded store has been made of this version by opening it
    return _say(
        f"incarnation {store.incarnation}: {stats.objects} objects, {stats.observations} observations, "
        f"{stats.bytes / 2**20:.1f} MiB"
    )


def _forget(store: SeriesStore, key: str) -> int:
    try:
        series = store.read([key]).get(key)
    except ValueError as error:
        raise ConfigurationError(f"{key[:60]!a} is no key of an object: {LONGEST_KEY_BYTES} bytes at most") from error
    if series is None:
        raise ConfigurationError(f"the store holds no object {key!r}: keys are survey/objectId, e.g. ztf/ZTF18abcdefg")
    alert_ids = tuple(series.alert_ids.tolist())
    store.settle([Change(key, (), len(alert_ids), 1, withdrawn=alert_ids)])
    return _say(f"{key}: {len(alert_ids)} observations forgotten")


def _say(text: str) -> int:
    console().print(text)
    return DONE
