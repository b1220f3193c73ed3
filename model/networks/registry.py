"""Networks by name, made from a readable configuration and told by it again.

A configuration is a flat JSON object with the key ``network`` and fields of that network's config dataclass::

    {"network": "convention", "class_count": 4, "width": 0.25}

Every network is a :class:`model.networks.grouped.GroupedNetwork`. Training may rely on these of each: ``forward``,
``features(frames) -> [B, feature_width]``, ``penultimate(embeddings, curve) -> [B, feature_width]`` and
``head(features) -> [B, K]``. Vigil and the recurrent comparators also give ``prefix_logits(frames) -> [B, T, K]``.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from model.networks.grouped import GroupedNetwork

LONGEST_SHOWN = 300  # characters of a message's part
LARGEST = 65_536  # of a whole number among the settings: no memory holds such a network
LARGEST_OF = MappingProxyType({"layers": 64, "size": 256})  # far beyond use: each layer and pixel costs time and memory

# Name -> module, config and network. A module is imported when its network is first asked for: the service need not
# load what only a comparator needs.
NETWORKS = {
    "convention": ("model.networks.convention", "ConvEntionConfig", "ConvEntion"),
    "vigil": ("model.networks.vigil", "VigilConfig", "Vigil"),
    "cnn_rnn": ("model.networks.cnn_rnn", "CnnRnnConfig", "CnnRnn"),
    "sits_bert": ("model.networks.sits_bert", "SitsBertConfig", "SitsBert"),
    "scone": ("model.networks.scone", "SconeConfig", "Scone"),
    "supernnova": ("model.networks.supernnova", "SuperNNovaConfig", "SuperNNova"),
    "lstm": ("model.networks.lstm", "LstmConfig", "Lstm"),
}


class NetworkError(ValueError):
    """There is no such network, or not with these settings."""


def build(config: Mapping[str, Any]) -> GroupedNetwork:
    """Make a network with fresh weights (seed torch before).

    Raises
    ------
    NetworkError
        When the network or one of its settings is unknown, or a value is not allowed.
    """
    settings = dict(config)
    name = settings.pop("network", None)
    config_class, network_class = _classes(name)
    known = {field.name for field in dataclasses.fields(config_class)}
    if unknown := settings.keys() - known:
        raise NetworkError(f"{name} has no setting {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}")
    try:
        checked: Any = TypeAdapter(config_class).validate_json(json.dumps(settings), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its settings"
        raise NetworkError(f"{name}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
    except (TypeError, ArithmeticError) as error:  # what JSON cannot hold; what cannot be shared among no heads
        raise NetworkError(f"{name} with {shown(settings)}: {error}") from error
    for setting in dataclasses.fields(checked):
        least, most = int(setting.default != 0), LARGEST_OF.get(setting.name, LARGEST)
        _check_numbers(f"{name}: {setting.name}", getattr(checked, setting.name), least, most)
    try:
        return network_class(checked)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:  # from impossible sizes
        raise NetworkError(f"{name} cannot be built with {shown(settings)}: {shown(error)}") from error


def describe(network: GroupedNetwork) -> dict[str, Any]:
    """The configuration that :func:`build` turns into this network again; JSON can hold it."""
    return {"network": network.name} | dataclasses.asdict(network.config)


def accepted(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``settings`` that network ``name`` has: so that one set of facts can be offered to any network."""
    known = {field.name for field in dataclasses.fields(_classes(name)[0])}
    return {key: value for key, value in settings.items() if key in known}


def _classes(name: object) -> tuple[Any, Callable[[Any], GroupedNetwork]]:
    if not isinstance(name, str) or name not in NETWORKS:
        raise NetworkError(f"network is {name!r}: choose one of {', '.join(sorted(NETWORKS))}")
    module, config_class, network_class = NETWORKS[name]
    loaded = import_module(module)
    return getattr(loaded, config_class), getattr(loaded, network_class)


def shown(value: object) -> str:
    """Anything on one line of a message, cut where it is long."""
    line = " ".join(str(value).split())
    return line if len(line) <= LONGEST_SHOWN else line[:LONGEST_SHOWN] + "…"


def _check_numbers(where: str, value: Any, least: int, most: int) -> None:
    """Refuse what no size and no constant can be, at any depth of a setting; those in lists may be 0."""
    if isinstance(value, tuple):
        for item in value:
            _check_numbers(where, item, 0, most)
    elif isinstance(value, float) and not math.isfinite(value):
        raise NetworkError(f"{where} is {value}: it must be a finite number")
    elif isinstance(value, int) and not isinstance(value, bool) and not least <= value <= most:
        raise NetworkError(f"{where} is {value}: it must be from {least} to {most}")
