"""Settings: the environment, then `fleet.toml`, then the defaults; read once, here.

A setting `[worker] slots` is `FLEET_WORKER__SLOTS` in the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestrator.domain import budgets
from orchestrator.domain.addresses import is_loopback
from orchestrator.domain.budgets import BudgetRule
from orchestrator.domain.catalogue import TRITON, ModelEntry
from orchestrator.domain.tools import Effect
from orchestrator.model_settings import (
    Cache,
    Provider,
    ProviderName,
    Retries,
    Routing,
    known_providers,
    providers_of,
)
from orchestrator.ports import state
from orchestrator.settings_sections import Secret
from orchestrator.settings_sections import Section as _Section

CONFIG_FILE = "fleet.toml"
_LIMITS = state.Limits()
_OTHER_VARIABLES = {
    *("FLEET_CONFIG", "FLEET_ADDRESS", "FLEET_API_KEY", "FLEET_PYTHON", "FLEET_STACK"),
    "FLEET_VLLM_ENV",  # of the tests
}


class SettingsError(Exception):
    """A setting is wrong; the message says which and what would be right."""


class Api(_Section):
    listen: str = "127.0.0.1:50051"
    metrics_port: int = Field(default=9401, ge=0, le=65535)
    reflection: bool = True
    # SHA-256 (hex) of an API key -> tenant. Empty: everyone is tenant "default".
    keys: Mapping[str, str] = Field(default_factory=dict)
    grace_s: float = Field(default=5.0, ge=0)
    slow_watcher_s: float = Field(default=30.0, gt=0)  # a stream that nobody reads is ended

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{listen!r} must be host:port, such as '127.0.0.1:50051'")
        return listen

    @model_validator(mode="after")
    def _not_open_to_others(self) -> Api:
        if not self.keys and not is_loopback(self.listen):
            raise ValueError(
                f"other machines can reach api.listen = {self.listen!r}, and there are no "
                "api.keys: set keys up, or listen on 127.0.0.1"
            )
        return self


class Worker(_Section):
    count: int = Field(default=1, ge=1, le=64)  # processes that `fleet up` starts
    slots: int = Field(default=64, ge=1)
    metrics_port: int = Field(default=9411, ge=0, le=65535)  # of the first, the next has one more
    patience_s: float = Field(default=25.0, ge=0)
    run_timeout_s: float = Field(default=600.0, gt=0)  # of a run that names none
    interrupt_timeout_s: float = Field(default=86_400.0, gt=0)  # where the agent does not say
    lease_s: float = Field(default=10.0, ge=0.5)
    grace_s: float = Field(default=5.0, ge=0)


class Toolbox(_Section):
    slots: int = Field(default=256, ge=1)
    metrics_port: int = Field(default=9402, ge=0, le=65535)
    lease_s: float = Field(default=10.0, ge=0.5)
    grace_s: float = Field(default=5.0, ge=0)
    sub_run_depth: int = Field(default=4, ge=0, le=16)  # runs that runs start
    lookup_file: Path | None = None  # JSON object of records; None: the support desk's


class Retry(_Section):
    """Tries of one tool call in all, and the full-jitter waits between."""

    max_attempts: int = Field(default=3, ge=1, le=5)
    base_s: float = Field(default=0.5, gt=0, le=60)
    cap_s: float = Field(default=10.0, gt=0, le=300)


class PythonTool(_Section):
    """`function` is `module:function`. What is not set here is as the function declares it."""

    function: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    effect: Effect | None = None
    timeout_s: float | None = Field(default=None, gt=0, le=3600)
    concurrency: int | None = Field(default=None, ge=0)
    needs_approval: bool | None = None
    retry: Retry | None = None


class HttpTool(_Section):
    """`{name}` in the path of `url` is that argument; the others go to the body or the query."""

    url: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    arguments: Literal["body", "query"] | None = None  # None: query for GET and DELETE
    description: str = Field(min_length=1)
    parameters: Mapping[str, Any]
    headers: Mapping[str, SecretStr | Secret] = Field(default_factory=dict)
    effect: Effect = Effect.AT_MOST_ONCE
    timeout_s: float = Field(default=10.0, gt=0, le=3600)
    concurrency: int = Field(default=0, ge=0)
    needs_approval: bool = False
    retry: Retry = Retry()
    redirects: int = Field(default=0, ge=0, le=5)
    max_response_bytes: int = Field(default=1_048_576, ge=1_024, le=64 * 1_048_576)


Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class McpServer(_Section):
    """A program to start (`command`) or a streamable HTTP server to call (`url`).

    `tools` names each tool that may be used, with the digest of what it was when somebody
    looked at it; `fleet tools pin NAME` prints these lines.
    """

    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, SecretStr | Secret] = Field(default_factory=dict)
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, SecretStr | Secret] = Field(default_factory=dict)
    tools: Mapping[str, Digest] = Field(default_factory=dict)
    schema_file: Path | None = None  # None: mcp/NAME.json in `home`
    effect: Effect = Effect.AT_MOST_ONCE
    trust_annotations: bool = False
    timeout_s: float = Field(default=30.0, gt=0, le=3600)
    concurrency: int = Field(default=0, ge=0)
    needs_approval: bool = False
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _one_endpoint(self) -> McpServer:
        if bool(self.command) == bool(self.url):
            raise ValueError("must name either command or url")
        if self.url and (self.args or self.env or self.cwd):
            raise ValueError("args, env and cwd belong to command, not to url")
        if self.command and self.headers:
            raise ValueError("headers belong to url, not to command")
        return self


ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Tools(_Section):
    """`hosts` may be called when their addresses are public, `internal_hosts` in any case."""

    max_output_bytes: int = Field(default=16_384, ge=256, le=1_048_576)
    threads: int = Field(default=32, ge=2, le=1024)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_rest_s: float = Field(default=30.0, gt=0)
    entry_points: bool = True
    hosts: tuple[str, ...] = ()
    internal_hosts: tuple[str, ...] = ()
    python: Mapping[ToolName, PythonTool] = Field(default_factory=dict)
    http: Mapping[ToolName, HttpTool] = Field(default_factory=dict)
    mcp: Mapping[ServerName, McpServer] = Field(default_factory=dict)

    @field_validator("hosts")
    @classmethod
    def _bare(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or set(host) & set("/@*: "):
                raise ValueError(f"{host!r} must be a host's name, with no port and no *")
        return tuple(host.lower() for host in hosts)

    @field_validator("internal_hosts")
    @classmethod
    def _with_port(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            name, _, port = host.rpartition(":")
            if not name or set(name) & set("/@* ") or not port.isdigit():
                raise ValueError(f"{host!r} must be written host:port, with no *")
        return tuple(host.lower() for host in hosts)

    @property
    def internal(self) -> frozenset[tuple[str, int]]:
        parts = (host.rpartition(":") for host in self.internal_hosts)
        return frozenset((name.strip("[]"), int(port)) for name, _, port in parts)


class Redis(_Section):
    """An empty `url` makes `fleet up` start a server of its own on `port`."""

    url: SecretStr = SecretStr("")
    port: int = Field(default=6390, ge=0, le=65535)
    shards: int = Field(default=1, ge=1, le=256)
    server: Path | None = None

    @property
    def address(self) -> str:
        return self.url.get_secret_value() or f"redis://127.0.0.1:{self.port}/0"

    @property
    def place(self) -> str:
        """The address with no user and no password."""
        return self.address.rpartition("@")[2].removeprefix("redis://")


class Limits(_Section):
    """Bounds of the state, and the tenants' shares in the fair queue (see docs/state.md)."""

    max_attempts: int = Field(default=_LIMITS.max_attempts, ge=1)
    live_runs: int = Field(default=_LIMITS.live_runs, ge=1)
    waiting_runs: int = Field(default=_LIMITS.waiting_runs, ge=0)
    running_items: int = Field(default=_LIMITS.running_items, ge=1)
    events: int = Field(default=_LIMITS.events, ge=100)
    dead_letters: int = Field(default=_LIMITS.dead_letters, ge=1)
    request_ttl_s: int = Field(default=_LIMITS.request_ttl_s, ge=60)
    run_ttl_s: int = Field(default=_LIMITS.run_ttl_s, ge=60)
    session_ttl_s: int = Field(default=_LIMITS.session_ttl_s, ge=60)
    usage_days: int = Field(default=_LIMITS.usage_days, ge=1, le=4000)
    weights: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _consistent(self) -> Limits:
        self.of_the_state()
        return self

    def of_the_state(self) -> state.Limits:
        return state.Limits(**self.model_dump())


AgentOfBudget = Annotated[str, StringConstraints(pattern=r"^([^/]+/)?[a-z0-9_.-]{1,64}$")]


class Budgets(_Section):
    """What tenants may spend; `default` is of those that are not named. `agents` names an agent
    of every tenant, or `tenant/agent`.
    """

    default: BudgetRule | None = None
    tenants: Mapping[str, BudgetRule] = Field(default_factory=dict)
    agents: Mapping[AgentOfBudget, BudgetRule] = Field(default_factory=dict)

    def of_the_state(self) -> budgets.Budgets:
        return budgets.Budgets(default=self.default, tenants=self.tenants, agents=self.agents)


class Triton(_Section):
    """Without an `address`, or `addresses` of several servers with the same models, `fleet up`
    starts a server of its own on the ports.
    """

    address: str = ""
    addresses: tuple[str, ...] = ()
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    http_port: int = Field(default=8000, ge=0, le=65535)
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    server: Path | None = None
    repositories: tuple[Path, ...] = (Path("model_repository"), Path("ensembles"))
    backends: Path = Path("backends")
    models_dir: Path | None = None  # of added models; None: models in `home`

    @model_validator(mode="after")
    def _one_or_several(self) -> Triton:
        if self.address and self.addresses:
            raise ValueError("name either address or addresses, not both")
        for address in self.addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise ValueError(f"addresses: {address!r} must be host:port, such as 'gpu1:8001'")
        if len(set(self.addresses)) < len(self.addresses):
            raise ValueError("addresses names a server twice")
        return self

    @property
    def is_elsewhere(self) -> bool:
        return bool(self.address or self.addresses)

    @property
    def grpc_addresses(self) -> tuple[str, ...]:
        return self.addresses or (self.address or f"127.0.0.1:{self.grpc_port}",)

    @property
    def metrics_urls(self) -> tuple[str, ...]:
        hosts = (address.rpartition(":")[0] for address in self.grpc_addresses)
        return tuple(f"http://{host}:{self.metrics_port}/metrics" for host in hosts)


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
    tools: Tools = Tools()
    redis: Redis = Redis()
    limits: Limits = Limits()
    budgets: Budgets = Budgets()
    triton: Triton = Triton()
    providers: Mapping[ProviderName, Provider] = Field(default_factory=known_providers)
    retries: Retries = Retries()
    routing: Routing = Routing()
    cache: Cache = Cache()
    models: Mapping[str, ModelEntry] = Field(default_factory=embedded_catalogue)

    @property
    def state_limits(self) -> state.Limits:
        return replace(self.limits.of_the_state(), budgets=self.budgets.of_the_state())

    @property
    def models_dir(self) -> Path:
        return self.triton.models_dir or self.home / "models"

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

    @field_validator("providers", mode="before")
    @classmethod
    def _with_the_known_ones(cls, value: Any) -> Any:
        return providers_of(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _known_providers(self) -> Settings:
        known = [TRITON, *self.providers]
        for name, entry in self.models.items():
            if entry.provider not in known:
                raise ValueError(
                    f"models.{name}.provider is {entry.provider!r}; it must be one of "
                    f"{', '.join(known)}, or get a table [providers.{entry.provider}]"
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
            f"{'.'.join(str(part) for part in item['loc'])}: {_said(item['type'], item['msg'])}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(f"settings ({file} and environment): {problems}") from None


def _said(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such setting"
    return message.removeprefix("Value error, ")


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
