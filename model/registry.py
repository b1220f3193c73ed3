"""Networks by name: a readable configuration goes in, a network comes out, and back.

A configuration is a flat JSON object with the key ``network`` and fields of that network's config dataclass::

    {"network": "convention", "class_count": 4, "width": 0.25}

Every network is a :class:`model.grouped.GroupedNetwork`. What training may rely on, of each of them: ``forward``,
``features(frames) -> [B, feature_width]``, ``penultimate(embeddings, curve) -> [B, feature_width]`` and
``head(features) -> [B, K]``. Vigil and the recurrent comparators also give ``prefix_logits(frames) -> [B, T, K]``.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from model.convention import ConvEntion, ConvEntionConfig
from model.grouped import GroupedNetwork
from model.vigil import Vigil, VigilConfig

NETWORKS: dict[str, tuple[type, type[GroupedNetwork]]] = {
    ConvEntion.name: (ConvEntionConfig, ConvEntion),
    Vigil.name: (VigilConfig, Vigil),
}


def build(config: Mapping[str, Any]) -> GroupedNetwork:
    """Make a network with fresh weights (seed torch before).

    Raises
    ------
    ValueError
        When the network or one of its settings is unknown, or a value is not allowed.
    """
    settings = dict(config)
    name = settings.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"network is {name!r}: choose one of {', '.join(sorted(NETWORKS))}")
    config_class, network_class = NETWORKS[name]
    known = {field.name for field in dataclasses.fields(config_class)}
    if unknown := settings.keys() - known:
        raise ValueError(f"{name} has no setting {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}")
    return network_class(config_class(**{key: _frozen(value) for key, value in settings.items()}))


def describe(network: GroupedNetwork) -> dict[str, Any]:
    """The configuration that :func:`build` turns into this network again; JSON can hold it."""
    return {"network": network.name} | dataclasses.asdict(network.config)


def accepted(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``settings`` that network ``name`` has: so that one set of facts can be offered to any network."""
    if name not in NETWORKS:
        raise ValueError(f"network is {name!r}: choose one of {', '.join(sorted(NETWORKS))}")
    known = {field.name for field in dataclasses.fields(NETWORKS[name][0])}
    return {key: value for key, value in settings.items() if key in known}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
