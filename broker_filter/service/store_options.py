"""Command line of ``ictc-store``. Knows nothing of what is done with the options."""

import argparse
from pathlib import Path

from model.commands import add_common_options

ACTIONS = {
    "info": "count what it holds",
    "verify": "read and check every row; status 1 where one is damaged",
    "backup": "copy it to TARGET: a folder (embedded, even of a running service) or a file (shared, services stopped)",
    "restore": "fill an empty shared store from the backup TARGET; an embedded backup is a store itself",
    "migrate": "make it of this program's version; every series is kept",
    "forget": "remove one object, named survey/objectId",
}
NEEDS_TARGET = ("backup", "restore", "forget")


def parser() -> argparse.ArgumentParser:
    """Options of ``ictc-store``."""
    p = argparse.ArgumentParser("ictc-store", description="Look after a series store.")
    p.add_argument(
        "action", choices=tuple(ACTIONS), help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items())
    )
    p.add_argument("target", nargs="?", metavar="TARGET", help="of backup, restore and forget")
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--path", type=Path, metavar="FOLDER", help="embedded store (store.path)")
    where.add_argument("--url", metavar="URL", help="shared store (store.url)")
    add_common_options(p)
    return p
