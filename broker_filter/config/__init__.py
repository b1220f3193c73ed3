"""Settings of a file, the environment and the command line as one frozen object. Knows nothing of what reads it.

Variables, flags and a file enter; ``Settings`` leave, each room's part a section of them.
"""

from broker_filter.config.command_line import broker_parser, load, parser_of
from broker_filter.config.sections import (
    HttpSettings,
    KafkaSettings,
    LifeSettings,
    ModelSettings,
    OutputSettings,
    RegistrySettings,
    Section,
    StoreSettings,
    TraceSettings,
    server_url,
)
from broker_filter.config.settings import Settings, masked, remember_secrets

__all__ = [
    "HttpSettings",
    "KafkaSettings",
    "LifeSettings",
    "ModelSettings",
    "OutputSettings",
    "RegistrySettings",
    "Section",
    "Settings",
    "StoreSettings",
    "TraceSettings",
    "broker_parser",
    "load",
    "masked",
    "parser_of",
    "remember_secrets",
    "server_url",
]
