"""Networks by name: a readable configuration goes in, a network comes out, and back.

A configuration is a flat JSON object with the key ``network`` and fields of that network's config dataclass::

    {"network": "convention", "class_count": 4, "width": 0.25}

Every network is a :class:`model.grouped.GroupedNetwork`. What training may rely on, of each of them: ``forward``,
``features(frames) -> [B, feature_width]``, ``penultimate(embeddings, curve) -> [B, feature_width]`` and
``head(features) -> [B, K]``. Vigil and the recurrent comparators also give ``prefix_logits(frames) -> [B, T, K]``.
"""

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from model.grouped import GroupedNetwork

# Name -> module, config and network. A module is imported when its network is first asked for: the service need not
# load what only a comparator needs.
NETWORKS = {
    "convention": ("model.convention", "ConvEntionConfig", "ConvEntion"),
    "vigil": ("model.vigil", "VigilConfig", "Vigil"),
    "cnn_rnn": ("model.comparators.cnn_rnn", "CnnRnnConfig", "CnnRnn"),
    "sits_bert": ("model.comparators.sits_bert", "SitsBertConfig", "SitsBert"),
    "scone": ("model.comparators.scone", "SconeConfig", "Scone"),
    "supernnova": ("model.comparators.supernnova", "SuperNNovaConfig", "SuperNNova"),
    "lstm": ("model.comparators.lstm", "LstmConfig", "Lstm"),
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
        return network_class(config_class(**{key: _frozen(value) for key, value in settings.items()}))
    except (TypeError, ValueError) as error:
        raise NetworkError(f"{name} with {settings}: {error}") from error


def describe(network: GroupedNetwork) -> dict[str, Any]:
    """The configuration that :func:`build` turns into this network again; JSON can hold it."""
    return {"network": network.name} | dataclasses.asdict(network.config)


def accepted(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``settings`` that network ``name`` has: so that one set of facts can be offered to any network."""
    known = {field.name for field in dataclasses.fields(_classes(name)[0])}
    return {key: value for key, value in settings.items() if key in known}


def _classes(name: object) -> tuple[Any, Callable[[Any], GroupedNetwork]]:
    if name not in NETWORKS:
        raise NetworkError(f"network is {name!r}: choose one of {', '.join(sorted(NETWORKS))}")
    module, config_class, network_class = NETWORKS[str(name)]
    loaded = import_module(module)
    return getattr(loaded, config_class), getattr(loaded, network_class)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
