"""``ictc-look``: objects of an archive as a sheet, or as a contact sheet."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.options import look_parser
from broker_filter.archive.read import read_messages
from broker_filter.classify.classifier import load_classifiers
from broker_filter.errors import ConfigurationError
from broker_filter.look.contact_sheet import MOST_TILES, draw_contact_sheet
from broker_filter.look.gather import stories_of
from broker_filter.look.sheet import draw_sheet
from broker_filter.look.story import ObjectStory
from model.cli import command
from model.pictures.theme import DARK, LIGHT, Theme

NOTHING_FOUND = 1


@command("ictc-look", ConfigurationError)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when pictures were written, 1 when there is nothing to draw."""
    options = look_parser().parse_args(argv)
    theme = DARK if options.dark else LIGHT
    classifiers = load_classifiers(options.weights, options.device, allow_untrained=options.allow_untrained)
    schemas = Schemas(folder=options.schemas, bare_schema=options.schema)
    found, rejected = stories_of(
        read_messages(options.paths), classifiers, schemas, frozenset(options.objects), threads=2
    )
    missing = [name for name in options.objects if name not in found]
    if missing or not found:
        words = f"no alert of {', '.join(missing)}" if missing else "no alerts"
        print(f"ictc-look: {words} at {', '.join(map(str, options.paths))}; {len(rejected)} rejected", file=sys.stderr)
        if not found:
            return NOTHING_FOUND
    chosen = sorted(found.values(), key=lambda story: -len(story.answers))[: options.limit]
    if len(chosen) < len(found):
        print(f"ictc-look: {len(chosen)} of {len(found)} objects are drawn: --limit, --object", file=sys.stderr)
    for path, figure in _pictures(chosen, options.out, options.each, theme):
        figure.savefig(path)
        print(path)
    return NOTHING_FOUND if missing else 0


def _pictures(stories: Sequence[ObjectStory], path: Path, each: bool, theme: Theme) -> Iterator[tuple[Path, Figure]]:
    """Paths and what is drawn there, one at a time."""
    if each:
        for story in stories:
            name = "".join(letter if letter.isalnum() else "_" for letter in story.object_id)  # it came from outside
            yield path.with_name(f"{path.stem}-{name}{path.suffix}"), draw_sheet(story, theme)
    elif len(stories) == 1:
        yield path, draw_sheet(stories[0], theme)
    elif len(stories) > MOST_TILES:
        raise ConfigurationError(f"--limit {len(stories)}: a contact sheet holds {MOST_TILES}; or say --each")
    else:
        yield path, draw_contact_sheet(stories, theme)
