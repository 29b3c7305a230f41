"""Settings: the environment, then `fleet.toml`, then the defaults; read once, here.

A setting `[worker] slots` is `FLEET_WORKER__SLOTS` in the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestrator.domain.catalogue import ModelEntry

CONFIG_FILE = "fleet.toml"
_OTHER_VARIABLES = {"FLEET_CONFIG", "FLEET_ADDRESS", "FLEET_API_KEY", "FLEET_PYTHON", "FLEET_STACK"}


class SettingsError(Exception):
    """A setting is wrong; the message says which and what would be right."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Api(_Section):
    listen: str = "127.0.0.1:50051"
    metrics_port: int = Field(default=9401, ge=0, le=65535)
    reflection: bool = True
    # SHA-256 (hex) of an API key -> tenant. Empty: everyone is tenant "default".
    keys: Mapping[str, str] = Field(default_factory=dict)
    grace_s: float = Field(default=5.0, ge=0)
    slow_watcher_s: float = Field(default=30.0, gt=0)  # a stream that nobody reads is ended


class Worker(_Section):
    count: int = Field(default=1, ge=1, le=64)  # processes that `fleet up` starts
    slots: int = Field(default=64, ge=1)
    metrics_port: int = Field(default=9411, ge=0, le=65535)  # of the first, the next has one more
    patience_s: float = Field(default=25.0, ge=0)
    run_timeout_s: float = Field(default=600.0, gt=0)
    lease_s: float = Field(default=10.0, ge=0.5)
    grace_s: float = Field(default=5.0, ge=0)


class Toolbox(_Section):
    slots: int = Field(default=64, ge=1)
    metrics_port: int = Field(default=9402, ge=0, le=65535)
    lease_s: float = Field(default=10.0, ge=0.5)
    grace_s: float = Field(default=5.0, ge=0)
    lookup_file: Path | None = None  # JSON object of records; None: the support desk's


class Redis(_Section):
    """An empty `url` makes `fleet up` start a server of its own on `port`."""

    url: SecretStr = SecretStr("")
    port: int = Field(default=6390, ge=0, le=65535)
    shards: int = Field(default=1, ge=1, le=256)
    server: Path | None = None

    @property
    def address(self) -> str:
        return self.url.get_secret_value() or f"redis://127.0.0.1:{self.port}/0"


class Triton(_Section):
    """An empty `address` makes `fleet up` start a server of its own on the ports."""

    address: str = ""
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    http_port: int = Field(default=8000, ge=0, le=65535)
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    server: Path | None = None
    repositories: tuple[Path, ...] = (Path("model_repository"), Path("ensembles"))
    backends: Path = Path("backends")

    @property
    def grpc_address(self) -> str:
        return self.address or f"127.0.0.1:{self.grpc_port}"


def embedded_catalogue() -> dict[str, ModelEntry]:
    text = resources.files("orchestrator.defaults").joinpath("catalogue.toml").read_text("utf-8")
    models = tomllib.loads(text)["models"]
    return {name: ModelEntry(name=name, **entry) for name, entry in models.items()}


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="FLEET_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    home: Path = Path(".fleet")
    log_level: str = "info"
    api: Api = Api()
    worker: Worker = Worker()
    toolbox: Toolbox = Toolbox()
    redis: Redis = Redis()
    triton: Triton = Triton()
    models: Mapping[str, ModelEntry] = Field(default_factory=embedded_catalogue)

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        levels = ("debug", "info", "warning", "error")
        if value.lower() not in levels:
            raise ValueError(f"must be one of {', '.join(levels)}")
        return value.lower()

    @field_validator("models", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Gives each entry the name of its table."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: {"name": name, **entry} if isinstance(entry, Mapping) else entry
            for name, entry in value.items()
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What `load_settings` passes in was read from the file: the environment goes first.
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Reads the environment and the file: `path`, $FLEET_CONFIG, or ./fleet.toml if it is there.

    Raises:
        SettingsError: a file that can't be read, an unknown or a wrong setting.
    """
    _check_environment()
    chosen = path or (Path(os.environ["FLEET_CONFIG"]) if "FLEET_CONFIG" in os.environ else None)
    file = chosen or Path(CONFIG_FILE)
    values = _read(file) if chosen or file.exists() else {}
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"settings ({file} and environment): {problems}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"can't read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from None


def _check_environment() -> None:
    for name in os.environ:
        if not name.startswith("FLEET_") or name in _OTHER_VARIABLES:
            continue
        section = name.removeprefix("FLEET_").split("__")[0].lower()
        if section not in Settings.model_fields:
            known = ", ".join(f"FLEET_{field.upper()}" for field in Settings.model_fields)
            raise SettingsError(f"unknown setting {name} in the environment; known: {known}…")
