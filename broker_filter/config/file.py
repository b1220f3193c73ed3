"""A file of settings in YAML, read with bounds: whatever is in it, it is read or refused in a line, at once."""

import re
from pathlib import Path
from typing import Any

import yaml

from broker_filter.errors import ConfigurationError
from broker_filter.secret import shown_name

LARGEST_FILE_BYTES = 1 << 18
LARGEST_TREE = 5_000  # values, each alias counted as what it stands for
DEEPEST = 32
LARGEST_INTEGER_BITS = 64
_MERGE = "tag:yaml.org,2002:merge"  # of the key <<
_MAPPING, _NULL, _TEXT = "tag:yaml.org,2002:map", "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_OLD_NUMBER = re.compile(r"[-+]?0[0-7_]+|.*:.*")  # YAML 1.1 reads 0777 as 511 and 1:30 as 90
_WANTS_QUOTES = "a text that begins with *, & or ! wants quotes"
_REPEATED = re.compile(r"(alias|tag|tag handle) ['\"].*", re.DOTALL)  # which PyYAML takes from the file
# What PyYAML raises over a value that does not fit its tag, such as !!bool maybe.
_MISFITS = (ValueError, OverflowError, LookupError, AttributeError, TypeError)


class _OverBoundError(ValueError):
    """The file goes beyond a bound."""


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice, of which one would be silently lost, and reads no number as another."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return _TEXT if tag in _NUMBERS and _OLD_NUMBER.fullmatch(value) else tag

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)  # type: ignore[no-untyped-call]
        if anchor is not None and not node.value and node.style is None:
            raise yaml.composer.ComposerError(None, None, f"an anchor of nothing: {_WANTS_QUOTES}", node.start_mark)
        return node


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = key_node.value if key_node.tag == _MERGE else loader.construct_object(key_node, deep=True)
        if isinstance(key, list | dict | set):
            raise yaml.constructor.ConstructorError(
                None, None, f"a key is a {type(key).__name__}, not a name", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown_name(key)} is written twice: keep one", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(_MAPPING, _unique_mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises
    ------
    ConfigurationError
        When it cannot be read, is not a mapping, names a key twice, or is too large or too deep once it is unfolded.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read the settings in {path}: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigurationError(f"{path} has more than {LARGEST_FILE_BYTES} bytes: that is no file of settings")
    try:
        settings = _parse(content)
    except yaml.MarkedYAMLError as error:
        # Without the line itself, in which a secret may stand.
        mark = error.problem_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        problem = _REPEATED.sub(rf"\1: {_WANTS_QUOTES}", str(error.problem))
        raise ConfigurationError(f"{path} cannot be read{where}: {problem}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no text in UTF-8: {error}") from error
    except _OverBoundError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    except _MISFITS:  # whose words repeat the value, which may be a secret
        raise ConfigurationError(
            f"{path} cannot be read: a value is not what it looks like, such as a date of a thirteenth month, a number "
            "without digits or half a character"
        ) from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path} holds {type(settings).__name__}; settings are a mapping of sections")
    # With an underscore before it, pydantic would take a name for one of its own.
    if foreign := [shown_name(key) for key in settings if not isinstance(key, str) or key.startswith("_")]:
        raise ConfigurationError(
            f"{path}: {foreign[0]} is no section (YAML reads yes, no, on and off as true and false): see --help for "
            "their names"
        )
    return settings


def _parse(content: bytes) -> Any:
    text = content.decode("utf-8-sig")
    _refuse_size(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _unfolded_size(node, {}, 0)
        _fill_empty_sections(node)
        settings = loader.construct_document(node)
        _refuse_odd_values(settings)
        return settings
    finally:
        loader.dispose()


def _refuse_size(text: str) -> None:
    """Stop at the first value that is one too many or lies too deep: PyYAML is slow, and squares the depth."""
    depth = values = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        values += isinstance(event, yaml.NodeEvent)
        if depth > DEEPEST:
            raise _OverBoundError(f"it nests deeper than {DEEPEST} levels")
        if values > LARGEST_TREE:
            raise _OverBoundError(f"it has more than {LARGEST_TREE} values")


def _fill_empty_sections(root: yaml.Node) -> None:
    """Let a section whose every line is a comment say nothing, where YAML reads null; a null that is written stays."""
    if isinstance(root, yaml.MappingNode):
        root.value = [
            (name, yaml.MappingNode(_MAPPING, []) if section.tag == _NULL and not section.value else section)
            for name, section in root.value
        ]


def _refuse_odd_values(value: Any) -> None:
    """Refuse what no setting can be and no output can hold; collections are bounded in depth and size by now."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_odd_values(key)
            _refuse_odd_values(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            _refuse_odd_values(inner)
    elif isinstance(value, str):
        value.encode()  # raises for half a character, which YAML's escapes can write
    elif isinstance(value, int) and value.bit_length() > LARGEST_INTEGER_BITS:
        raise _OverBoundError(f"an integer of {value.bit_length()} bits, at most {LARGEST_INTEGER_BITS}")


def _unfolded_size(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node has once its aliases are unfolded; an alias within what it stands for has no end."""
    if depth > DEEPEST:
        raise _OverBoundError(f"it nests deeper than {DEEPEST} levels, or an alias stands within itself")
    if id(node) not in known:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_unfolded_size(part, known, depth + 1) for part in parts)
    if known[id(node)] > LARGEST_TREE:
        raise _OverBoundError(f"it has more than {LARGEST_TREE} values once its aliases are unfolded")
    return known[id(node)]
