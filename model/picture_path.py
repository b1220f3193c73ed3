"""A word of the command line in, the path of a picture that can be written out; draws nothing."""

import argparse
from pathlib import Path

SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")


def picture_path(text: str, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Check where a picture is to go; for ``argparse``.

    Raises
    ------
    argparse.ArgumentTypeError
        When its folder is not there, or its kind is none that can be drawn.
    """
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}: make it first")
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(suffixes)}")
    return path


def png_path(text: str) -> Path:
    """The same for pictures that are always PNG; the suffix may be left out."""
    path = Path(text)
    return picture_path(text if path.suffix else f"{text}.png", (".png",))
