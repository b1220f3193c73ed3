"""Templates of the pages, each value escaped and of signs that can be seen, and the files that they refer to."""

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from model.printable import shown


def page_environment() -> Environment:
    """A new environment of the package's templates, for whoever adds filters to it."""
    return Environment(
        loader=PackageLoader("broker_filter", "static"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def template(name: str) -> Template:
    """A template of the package that needs no filters of its own."""
    return page_environment().get_template(name)


@cache
def static_file(name: str) -> bytes:
    """A file that pages refer to."""
    return resources.files("broker_filter").joinpath("static", name).read_bytes()
