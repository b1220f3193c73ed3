"""Settings of a file, the environment and the command line as one frozen object. Knows nothing of what reads it.

Variables, flags and a file enter; ``Settings`` leave, each room's part a section of them.
"""

from broker_filter.config.command_line import (
    Arguments,
    broker_parser,
    load,
    parser_of,
)
from broker_filter.config.sections import (
    BatchSettings,
    DeadLetterSettings,
    HttpSettings,
    KafkaSettings,
    LifeSettings,
    LogSettings,
    MessageSettings,
    ModelSettings,
    OutputSettings,
    RegistrySettings,
    RouteSettings,
    Section,
    SpanSettings,
    StoreSettings,
    TraceSettings,
    server_url,
)
from broker_filter.config.settings import (
    Settings,
    apart,
    masked,
    remember_secrets,
)

__all__ = [
    "Arguments",
    "BatchSettings",
    "DeadLetterSettings",
    "HttpSettings",
    "KafkaSettings",
    "LifeSettings",
    "LogSettings",
    "MessageSettings",
    "ModelSettings",
    "OutputSettings",
    "RegistrySettings",
    "RouteSettings",
    "Section",
    "Settings",
    "SpanSettings",
    "StoreSettings",
    "TraceSettings",
    "apart",
    "broker_parser",
    "load",
    "masked",
    "parser_of",
    "remember_secrets",
    "server_url",
]
