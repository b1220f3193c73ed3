"""Pages of the documentation that repeat the program: settings, output format, commands, modules.

They are made anew at each build and kept nowhere, so they cannot be out of date.
"""

import argparse
import ast
import inspect
import json
import os
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import ictc
from broker_filter.config import Section, Settings
from broker_filter.config.variables import PREFIX
from broker_filter.output import formats
from ictc.command import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
# Packages in the order in which data flow: first the stream, then the networks.
FLOW = (
    *("ictc", "ictc.adapters", "broker_filter", "broker_filter.avro", "broker_filter.alerts", "broker_filter.series"),
    *("broker_filter.classify", "broker_filter.output", "broker_filter.kafka", "broker_filter.monitoring"),
    *("broker_filter.service", "broker_filter.archive"),
    *("model", "model.networks", "model.serving", "model.data"),
)
HELP_WIDTH = 100
BEFORE_DOCSTRING = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING)


def write(folder: Path) -> None:
    """Write every generated page that would change; Sphinx builds again only what did."""
    folder.mkdir(exist_ok=True)
    pages = {
        "configuration.md": configuration(),
        "output_format.md": output_format(),
        "commands.md": commands(),
        "modules.md": modules(),
        "ictc.md": public_names(),
        "runbook.md": runbook(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def configuration() -> str:
    """Every setting with its meaning, its default, its flag and its variable."""
    lines = [
        "# Configuration",
        "",
        "Every setting of `ictc-broker` is a line of YAML, a flag and an environment variable: `kafka.instance_id` is",
        f"`--kafka.instance-id` and `{PREFIX}KAFKA__INSTANCE_ID`. A flag beats the variable, which beats",
        "the file of `--config`. `null` switches off. Mistyped names are refused. Secrets belong in variables;",
        "`ictc-broker --check` prints all settings with secrets masked, and says what of the surroundings works.",
        "",
        "```console",
        "$ ictc-broker --config broker.yaml --kafka.group night-watch",
        f"$ {PREFIX}KAFKA__GROUP=night-watch ictc-broker --config broker.yaml",
        "```",
        "",
        "This page is made from the settings themselves (`broker_filter.config`).",
        "",
    ]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        lines += [f"## {name}", "", (section.__doc__ or "").strip(), ""]
        lines += ["| setting | meaning | kind | default |", "|---|---|---|---|"]
        lines += [_setting(name, key, setting) for key, setting in section.model_fields.items()]
        lines.append("")
    return "\n".join(lines)


def _setting(section: str, name: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split())
    return _row(f"`{section}.{name}`", meaning, _kind(field), _default(field))


def _row(*cells: str) -> str:
    """A row of a table; what would be a bar or a tag is escaped outside of code."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "\\<") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{value if isinstance(value, str | Path) else json.dumps(value)}`"


def _kind(field: FieldInfo) -> str:
    """The kind of value in words, with its bounds."""
    return ", ".join(filter(None, (_plain(field.annotation), _bounds(field))))


def _plain(annotation: Any) -> str:
    choices = getattr(annotation, "__args__", ())
    if "Literal" in str(annotation) and all(isinstance(choice, str) for choice in choices):
        return "one of " + ", ".join(f"`{choice}`" for choice in choices)
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}
    names |= {"SecretStr": "secret", "NoneType": "null"}
    if choices:
        parts = [_plain(choice) for choice in choices if choice is not Ellipsis]
        if str(annotation).startswith("tuple"):
            return f"list of {parts[0]}"
        if str(annotation).startswith(("dict", "collections.abc.Mapping", "typing.Mapping")):
            return "mapping of text to values"
        return " or ".join(dict.fromkeys(parts))
    return names.get(getattr(annotation, "__name__", str(annotation)), str(annotation))


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = []
    for constraint in field.metadata:
        bounds += [f"{sign} {getattr(constraint, name)}" for name, sign in signs.items() if hasattr(constraint, name)]
        if getattr(constraint, "pattern", None):
            bounds.append(f"`{constraint.pattern}`")
    return ", ".join(bounds)


def output_format() -> str:
    """Each field of a classification record, and how the published forms differ."""
    schema = json.loads(formats.schema_text(formats.LEAN_SCHEMA))
    lines = [
        "# Output format",
        "",
        schema["doc"],
        "",
        "The same record is published as JSON lines, as Avro (object containers or Confluent-framed, schema",
        f"`schemas/{formats.LEAN_SCHEMA}.avsc`), as Parquet, and in the form of DESC's ELAsTiCC",
        f"(`schemas/{formats.DESC_SCHEMA}.avsc`). Field by field, from the schema itself:",
        "",
        "| field | type | meaning | default |",
        "|---|---|---|---|",
    ]
    lines += [_record_field(field) for field in schema["fields"]]
    desc = json.loads(formats.schema_text(formats.DESC_SCHEMA))
    lines += [
        "",
        "## DESC's form",
        "",
        f"`output.format: elasticc` or `elasticc-container` writes `{desc['namespace']}.{desc['name']}`:",
        "",
        "| field | type | meaning | default |",
        "|---|---|---|---|",
    ]
    lines += [_record_field(field) for field in desc["fields"]]
    return "\n".join(lines) + "\n"


def _record_field(field: dict[str, Any]) -> str:
    default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
    return _row(f"`{field['name']}`", _avro_type(field["type"]), field.get("doc", ""), default)


def _avro_type(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_avro_type(one) for one in kind)
    if not isinstance(kind, dict):
        return str(kind)
    if "logicalType" in kind:
        return f"{kind['type']} ({kind['logicalType']})"
    details = {
        "enum": lambda: "one of " + ", ".join(f"`{symbol}`" for symbol in kind["symbols"]),
        "map": lambda: f"map of {_avro_type(kind['values'])}",
        "array": lambda: f"list of {_avro_type(kind['items'])}",
        "record": lambda: "record of " + ", ".join(f"`{field['name']}`" for field in kind["fields"]),
    }
    return details[kind["type"]]() if kind["type"] in details else str(kind["type"])


def commands() -> str:
    """What every command says with ``--help``."""
    lines = ["# Commands", "", "Each is `ictc COMMAND`, and a program of its own: `ictc-COMMAND`.", ""]
    with patch.dict(os.environ, {"COLUMNS": str(HELP_WIDTH), "NO_COLOR": "1"}):
        for command in COMMANDS.values():
            parser = command.open_parser()
            lines += [f"## ictc {command.name}", "", "```text", parser.format_help().rstrip(), "```", ""]
            for name, inner in _inner_commands(parser):
                lines += [f"### ictc {command.name} {name}", "", "```text", inner.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def _inner_commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def public_names() -> str:
    """The public interface, name by name."""
    lines = ["# ictc", "", "```{eval-rst}", ".. automodule:: ictc", "   :no-members:", ""]
    for name in sorted(ictc.__all__, key=lambda name: (name.endswith("Error"), name.lower())):
        value = getattr(ictc, name)
        kind = "function" if not isinstance(value, type) else "exception" if name.endswith("Error") else "class"
        lines.append(f".. auto{kind}:: ictc.{name}")
    return "\n".join([*lines, "```", ""])


def modules() -> str:
    """Every package and module with the first line of its docstring, in the order in which data flow."""
    lines = [
        "# Modules",
        "",
        "Packages in the order in which data flow, each module with its first line.",
        "",
    ]
    init_of = {path.parent.relative_to(ROOT).as_posix().replace("/", "."): path for path in _packages()}
    for package in sorted(init_of, key=lambda name: (FLOW.index(name) if name in FLOW else len(FLOW), name)):
        text = _docstring(init_of[package])
        lines += [f"## {package}", "", text.strip().replace("``", "`"), "", "| module | what it is |", "|---|---|"]
        for path in sorted(init_of[package].parent.glob("*.py")):
            if path.name != "__init__.py":
                first_line = _docstring(path).strip().partition("\n")[0].replace("``", "`")
                lines.append(_row(f"`{path.stem}`", first_line))
        lines.append("")
    return "\n".join(lines)


def _packages() -> Iterator[Path]:
    for top in ("ictc", "broker_filter", "model"):
        yield from sorted((ROOT / top).rglob("__init__.py"))


def _docstring(path: Path) -> str:
    with tokenize.open(path) as file:
        first = next(token for token in tokenize.generate_tokens(file.readline) if token.type not in BEFORE_DOCSTRING)
    return inspect.cleandoc(ast.literal_eval(first.string)) if first.type == tokenize.STRING else ""


def runbook() -> str:
    """The runbook of ``deploy/``, with links that hold from here."""
    text = (ROOT / "deploy" / "README.md").read_text("utf-8")
    return text.replace("](../ARCHITECTURE.md)", "](../architecture.md)")
