"""Reading of settings: the command line beats the environment, which beats the file, which beats the defaults."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import CliSettingsSource, SettingsError

from broker_filter.config.file import read_yaml
from broker_filter.config.settings import Settings, apart, remember_secrets, secret_names
from broker_filter.config.variables import PREFIX, refuse_unknown_variables
from broker_filter.errors import ConfigurationError
from broker_filter.secret import is_secret_name, shown, shown_name
from model.commands import add_common_options


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line asks for."""

    settings: Settings
    check: bool = False


def parser_of(program: str) -> tuple[argparse.ArgumentParser, CliSettingsSource[Settings]]:
    """The command line: ``--config``, ``--check``, and one flag for every setting."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Read alerts from Kafka, classify each object's series of stamps, publish the classifications.",
        epilog=f"Every setting is also a variable: {PREFIX}KAFKA__BROKERS=host:port. "
        "Mappings are JSON, or key=value where the value has no comma; null switches off.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument("--check", action="store_true", help="check settings and surroundings, print them, and exit")
    add_common_options(parser, quiet=False)
    source = CliSettingsSource[Settings](
        Settings,
        root_parser=parser,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_use_class_docs_for_groups=True,
        add_argument_method=_add_readable_argument,
        cli_shortcuts={
            "model.allow-untrained": "allow-untrained",
            "span.from-time": "from",
            "span.until-time": "until",
            "span.night": "night",
            "span.exit-on-end": "exit-on-end",
            "life.workers": "workers",
        },
    )
    return parser, source


def broker_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-broker``."""
    return parser_of("ictc-broker")[0]


_READABLE_TYPES = {
    "str": "TEXT",
    "int": "N",
    "float": "NUMBER",
    "Path": "PATH",
    "SecretStr": "SECRET",
    "datetime": "TIME",
    "tuple[str,...]": "A,B,...",
    "tuple[JSON,...]": "JSON",
    "dict[str,{str,int,float,bool}]": "KEY=VALUE,...",
}


def _add_readable_argument(container: Any, *names: str, **options: Any) -> argparse.Action:
    """Add a setting's flag, with a word that people read where Python would show a type."""
    shown = options.get("metavar")
    if isinstance(shown, str):
        readable = _READABLE_TYPES.get(shown, shown)
        options["metavar"] = "SECONDS" if readable == "NUMBER" and names[-1].endswith("-s") else readable
    action: argparse.Action = container.add_argument(*names, **options)
    return action


def load(arguments: Sequence[str] | None = None, program: str = "ictc-broker") -> Arguments:
    """Settings from the command line, the environment and the file that ``--config`` names.

    Raises
    ------
    ConfigurationError
        Naming each wrong setting, its value (unless secret) and what is allowed.
    """
    parser, source = parser_of(program)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:  # only names: a value may be a secret
        named = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        parser.error(f"unrecognized arguments: {' '.join(named) or f'{len(unknown)} words that belong to no option'}")
    sections = {name: type(section).model_fields for name, section in Settings.model_construct()}
    refuse_unknown_variables(os.environ, sections)
    from_file = {} if parsed.config is None else read_yaml(parsed.config)
    try:
        settings = Settings(**{"_cli_settings_source": source(parsed_args=parsed), **from_file})
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None
    except SettingsError as error:
        raise ConfigurationError(f"cannot read a setting: {error} ({error.__cause__})") from error
    except RecursionError:
        raise ConfigurationError("cannot read a setting: JSON in it nests too deep") from None
    remember_secrets(settings)
    return Arguments(apart(settings), parsed.check)


# What pydantic calls a value that is no mapping, and one that is no text.
_NO_MAPPING = ("model_type", "dict_type")
_NO_TEXT = ("string_type", "path_type")


def _explain(error: ValidationError) -> str:
    lines, secrets = [], secret_names()
    for problem in error.errors(include_url=False):
        name = ".".join(map(str, problem["loc"])) or "settings"
        known = ".".join(map(shown_name, problem["loc"])) or name
        if problem["type"] == "extra_forbidden":
            lines.append(f"{known} is no setting: see --help for their names")
            continue
        given = problem["input"]
        is_open = name not in secrets and not is_secret_name(name) and problem["type"] not in _NO_MAPPING
        value = f" = {shown(given)}" if is_open and isinstance(given, str | int | float) else ""
        lines.append(f"{known}{value}: {_words(problem)}")
    return "; ".join(lines)


def _words(problem: ErrorDetails) -> str:
    """What is wrong about a value: in our words where pydantic's name Python's classes or no remedy."""
    if problem["type"] in _NO_MAPPING:
        return "must be a mapping of names to values"
    if problem["type"] in _NO_TEXT:
        return "must be text: a number, a date, yes, no, on and off want quotes in YAML"
    return problem["msg"].removeprefix("Value error, ")
