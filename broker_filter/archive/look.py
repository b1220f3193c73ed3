"""``ictc-look``: objects of an archive, a store or a running service, as a sheet or as a contact sheet."""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from matplotlib.figure import Figure

from broker_filter.archive.archive_options import checked_look, look_parser
from broker_filter.config import server_url
from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.look.contact_sheet import MOST_TILES, draw_contact_sheet
from broker_filter.look.sheet import draw_sheet
from broker_filter.look.story import ObjectStory, story_of
from broker_filter.records import Classification
from broker_filter.series.lmdb.look import look_at
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import SeriesStore
from broker_filter.terminal import command, complain
from broker_filter.web.index import INDEX_FILE, read_index
from model.commands import FAILED, interrupts_noted
from model.pictures.theme import DARK, LIGHT, Theme

PROGRAM = "ictc-look"
LONGEST_NAME = 60  # characters of an id in a file's name; an alert may bring one of megabytes
Stories = dict[str, ObjectStory]  # by the name under which an object was asked for


@command(PROGRAM, ConfigurationError, failed=(FatalError, RetryableError))
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when pictures were written, 1 when there is nothing to draw."""
    parser = look_parser()
    options = checked_look(parser, parser.parse_args(argv))
    theme = DARK if options.dark else LIGHT
    stories, where = _stories(options)
    missing = [name for name in options.objects if name not in stories]
    if missing or not stories:
        complain(PROGRAM, f"no alert of {', '.join(missing)}: {where}" if missing else f"no alerts: {where}")
        if not stories:
            return FAILED
    chosen = sorted(stories.values(), key=lambda story: -len(story.answers))[: options.limit]
    if len(chosen) < len(stories):
        complain(PROGRAM, f"{len(chosen)} of {len(stories)} objects are drawn: --limit, --object")
    with interrupts_noted() as interrupted:  # one that falls into a callback of matplotlib's would be lost
        for path, figure in _pictures(chosen, options.out, options.each, theme):
            figure.savefig(path)
            print(path)
            if interrupted():
                raise KeyboardInterrupt
    return FAILED if missing else 0


def _stories(options: argparse.Namespace) -> tuple[Stories, str]:
    """What there is to draw, and where it was looked for."""
    if options.service:
        return _served(options), options.service
    if options.store:
        return _held(options), str(options.store).rpartition("@")[2]
    return _archived(options)


def _archived(options: argparse.Namespace) -> tuple[Stories, str]:
    from broker_filter.alerts.packet_schema import Schemas  # noqa: PLC0415 # a service is asked without all that
    from broker_filter.archive.left_out import LeftOutCounts  # noqa: PLC0415
    from broker_filter.archive.read import read_messages  # noqa: PLC0415
    from broker_filter.classify.classifier import load_classifiers  # noqa: PLC0415
    from broker_filter.look.gather import stories_of  # noqa: PLC0415

    classifiers = load_classifiers(options.weights, options.device, allow_untrained=options.allow_untrained)
    schemas = Schemas(folder=options.schemas, bare_schema=options.schema)
    left_out = LeftOutCounts()
    messages = read_messages(options.paths, left_out)
    stories, rejected = stories_of(messages, classifiers, schemas, frozenset(options.objects), threads=2)
    if left_out:
        complain(PROGRAM, f"left out: {left_out}")
    return stories, f"{', '.join(map(str, options.paths))}; {len(rejected)} rejected"


def _served(options: argparse.Namespace) -> Stories:
    from broker_filter.look.served import ServedObjects, UnknownObjectError  # noqa: PLC0415

    stories = {}
    with ServedObjects(options.service) as service:
        for name in options.objects or service.newest(options.limit):
            try:
                stories[name] = service.story(name)
            except UnknownObjectError:
                continue
    return stories


def _held(options: argparse.Namespace) -> Stories:
    """Stories from a store: with the answers that the index beside it holds, else answered again."""
    from broker_filter.alerts.survey import SURVEYS  # noqa: PLC0415
    from broker_filter.classify.classifier import load_classifiers  # noqa: PLC0415
    from broker_filter.look.held import answers_again, observations_in  # noqa: PLC0415

    stories, again = {}, []
    with ExitStack() as stack:
        store = _open(options.store, stack)
        published = _published(options)
        names = options.objects or [key.partition("/")[2] for key in published]
        if not names:
            raise ConfigurationError("there is no index of objects beside the store: name those to draw with --object")
        classifiers = load_classifiers(options.weights, options.device, allow_untrained=options.allow_untrained)
        for name in names:
            stored = observations_in(store, name)
            if stored is None:
                continue
            key, observations = stored
            survey = key.partition("/")[0]
            answers = published.get(key)
            if answers is None:
                answers = answers_again(key, observations, classifiers)
                again.append(name)
            if answers and survey in classifiers:
                channels = classifiers[survey].card.channels
                stories[name] = story_of(observations, answers, channels, SURVEYS[survey].arcsec_per_pixel)
    if again:
        complain(PROGRAM, f"no index has answers to {', '.join(again)}: classified again from what the store holds")
    return stories


def _published(options: argparse.Namespace) -> dict[str, list[Classification]]:
    """Answers by object's key, of the index that was named or lies in the store's folder."""
    path = options.index
    if path is None:
        path = Path(options.store) / INDEX_FILE
        if "://" in options.store or not path.is_file():
            return {}
    elif not path.is_file():
        raise ConfigurationError(f"--index {path}: there is no such file")
    return read_index(path, [name.rpartition("/")[2] for name in options.objects], options.limit)


def _open(place: str, stack: ExitStack) -> SeriesStore:
    if "://" in place:
        store: SeriesStore = RedisSeriesStore(server_url(place))
    else:
        seen = look_at(Path(place))
        if seen is None:
            raise ConfigurationError(f"{place} holds no embedded store: --store names the folder of store.path")
        if seen.is_owned:
            raise ConfigurationError(f"the store {place} belongs to a running process: ask that one, --service URL")
        store = LmdbSeriesStore(Path(place))
    stack.callback(store.close)
    return store


def _pictures(stories: Sequence[ObjectStory], path: Path, each: bool, theme: Theme) -> Iterator[tuple[Path, Figure]]:
    """Paths and what is drawn there, one at a time."""
    if each:
        for story in stories:
            yield path.with_name(f"{path.stem}-{_as_file_name(story.object_id)}{path.suffix}"), draw_sheet(story, theme)
    elif len(stories) == 1:
        yield path, draw_sheet(stories[0], theme)
    elif len(stories) > MOST_TILES:
        raise ConfigurationError(f"--limit {len(stories)}: a contact sheet holds {MOST_TILES}; or say --each")
    else:
        yield path, draw_contact_sheet(stories, theme)


def _as_file_name(object_id: str) -> str:
    """An id from outside as part of a file's name; those of other letters, or too long, are told apart by a digest."""
    name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in object_id[:LONGEST_NAME])
    if name == object_id:
        return name
    return f"{name}-{hashlib.blake2b(object_id.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}"
