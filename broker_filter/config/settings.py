"""All settings as one frozen object, apart for a span of time that is read apart, and masked where they are shown."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

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
    SpanSettings,
    StoreSettings,
    TraceSettings,
)
from broker_filter.config.variables import PREFIX
from broker_filter.errors import ConfigurationError
from broker_filter.secret import is_secret_name, mask, remember, secrets_in_address


class Settings(BaseSettings):
    """Everything that an operator decides."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        case_sensitive=True,  # in a file, of which one of kafka and Kafka would be lost
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str="null",
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    model: ModelSettings = ModelSettings()
    store: StoreSettings = StoreSettings()
    batch: BatchSettings = BatchSettings()
    message: MessageSettings = MessageSettings()
    output: OutputSettings = OutputSettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    trace: TraceSettings = TraceSettings()
    life: LifeSettings = LifeSettings()
    span: SpanSettings = SpanSettings()

    @model_validator(mode="after")
    def _workers_share_a_store(self) -> "Settings":
        if self.life.workers > 1 and self.store.kind == "lmdb":
            raise ValueError(
                f"life.workers {self.life.workers}: an embedded store belongs to one process; "
                "share one with store.kind redis and store.url, or leave life.workers at 1"
            )
        if self.life.workers > 1 and self.span.name is not None:
            raise ValueError(
                f"life.workers {self.life.workers}: a span of time goes to an embedded store of its own, which "
                "belongs to one process: set life.workers to 1"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, in letters of either case, beats what the file says, which arrives as keyword arguments."""
        return EnvSettingsSource(settings_cls, case_sensitive=False), init_settings


def apart(settings: Settings) -> Settings:
    """The settings of a span that is read apart: group, store and topics of its own; others as they are."""
    name = settings.span.name
    if name is None:
        return settings
    kafka, output, dead_letter = settings.kafka, settings.output, settings.dead_letter
    routes = tuple(route.model_copy(update={"topic": f"{route.topic}.{name}"}) for route in output.routes)
    index = settings.http.index
    path = _beside(settings.store.path, name)
    changed = {
        "kafka": kafka.model_copy(update={"group": f"{kafka.group}.{name}"}),
        "output": output.model_copy(update={"topic": f"{output.topic}.{name}", "routes": routes}),
        "store": settings.store.model_copy(update={"kind": "lmdb", "path": path, "url": None}),
        "http": settings.http.model_copy(update={"index": index and _beside(index, name)}),
    }
    if dead_letter.topic is not None:
        changed["dead_letter"] = dead_letter.model_copy(update={"topic": f"{dead_letter.topic}.{name}"})
    return settings.model_copy(update=changed)


def _beside(path: Path, span: str) -> Path:
    """The place of a span's own store or index: beside the other one, with the span behind its name."""
    path = path if path.name not in ("", "..") else Path(os.path.abspath(path))  # noqa: PTH100 - resolves no links
    if not path.name:
        raise ConfigurationError(f"{path} has nothing beside it, where a span is kept: name a folder within it")
    return path.with_name(f"{path.name}.{span}")


def remember_secrets(settings: Settings) -> None:
    """Have this process conceal the secrets of the settings wherever a library quotes them."""
    remember(_secrets_of(settings))


def masked(settings: Settings) -> dict[str, dict[str, Any]]:
    """Settings that may be printed: secrets, and librdkafka values whose key speaks of one, are masked."""
    return {section: mask(section, values) for section, values in settings.model_dump(mode="json").items()}


def secret_names() -> set[str]:
    """Names of settings whose values are secrets."""
    return {
        f"{section}.{name}"
        for section, values in Settings.model_construct()
        for name, field in type(values).model_fields.items()
        if "SecretStr" in str(field.annotation)
    }


def _secrets_of(settings: Settings) -> list[str]:
    """Every secret in the settings: to be concealed wherever a library quotes it."""
    secrets: list[str] = []
    for _, section in settings:
        for name, value in section:
            texts = value.items() if isinstance(value, Mapping) else [(name, value)]
            for inner, one in texts:
                if isinstance(one, SecretStr):
                    secrets += secrets_in_address(one.get_secret_value())
                elif isinstance(one, str) and is_secret_name(inner):
                    secrets.append(one)
                elif isinstance(one, str):
                    secrets += secrets_in_address(one, whole=False)
    return secrets
