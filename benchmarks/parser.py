"""The command line of a benchmark: its help is the docstring, as it stands."""

import argparse
import sys


def parser_of(docstring: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring and how it is called; the caller adds what options there are."""
    spec = sys.modules["__main__"].__spec__
    called = None if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"
    return argparse.ArgumentParser(called, description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
