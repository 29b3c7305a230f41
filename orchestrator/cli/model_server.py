"""The Triton and the folder that `fleet models` changes, and how its failures end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import click

from orchestrator.added_models import ModelError, ModelStore
from orchestrator.added_models.engine_files import VllmHost
from orchestrator.added_models.serving import ModelDesk
from orchestrator.cli.connection import FAILED, INTERRUPTED, UNREACHABLE, USAGE
from orchestrator.cli.up import say
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.errors import FleetError, NotFound, Unavailable
from orchestrator.engines import ENGINE, EngineStore, Flavour
from orchestrator.model_composition import open_model_server
from orchestrator.settings import Settings
from orchestrator.supervisor.record import read_record
from orchestrator.triton import ServerNotFoundError
from orchestrator.triton.find import find_server


def triton_addresses(settings: Settings) -> Sequence[str]:
    """Those of the stack in this folder, or the configured ones."""
    record = read_record(settings.home)
    return record.triton.split(", ") if record else settings.triton.grpc_addresses


def vllm_host(settings: Settings) -> VllmHost:
    """
    Raises:
        ModelError: Triton would run this project's backend, and vLLM is not installed for it.
    """
    if settings.triton.address or _has_own_vllm(settings.triton.server):
        return VllmHost()
    engines = EngineStore(settings.home)
    facts = engines.facts()
    if facts is None:
        raise ModelError(
            f"{ENGINE} is not installed in {engines.root}: install it with: "
            f"fleet engines install {ENGINE}"
        )
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not facts.python.startswith(f"{ours}."):
        raise ModelError(
            f"{ENGINE} is installed for Python {facts.python}, and Triton's models run on {ours}: "
            f"fleet engines install {ENGINE} --reinstall"
        )
    return VllmHost(engines.link, on_cpu=facts.flavour is Flavour.CPU)


def _has_own_vllm(server: Path | None) -> bool:
    """NVIDIA's container with vLLM has the backend and its packages."""
    try:
        return (find_server(server).backends / ENGINE).is_dir()
    except ServerNotFoundError:
        return False


def known_models(settings: Settings, store: ModelStore) -> dict[str, ModelEntry]:
    """The catalogue as it is now; an added model whose entry can't be read is left out."""
    found = {}
    for name in store.names():
        try:
            found[name] = store.entry(name)
        except ModelError as error:
            click.echo(f"fleet: {error}", err=True)
    return {**settings.models, **{k: v for k, v in found.items() if k not in settings.models}}


async def at_desk(
    settings: Settings,
    store: ModelStore,
    catalogue: Mapping[str, ModelEntry],
    work: Callable[[ModelDesk], Awaitable[None]],
    *,
    also_without_triton: bool = False,
) -> None:
    addresses = triton_addresses(settings)
    async with open_model_server(addresses, catalogue, say) as (control, language):
        try:
            await control.served()
        except FleetError as error:
            if not also_without_triton:
                raise Unavailable(
                    f"Triton does not answer at {', '.join(addresses)}; start it with: fleet up",
                    reason=error.reason,
                ) from None
        await work(ModelDesk(store, control, language, say))


def finish(work: Callable[[], None]) -> None:
    """Runs `work` and exits; what went wrong is said in one sentence."""
    try:
        work()
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("interrupted; nothing was changed", err=True)
        raise SystemExit(INTERRUPTED) from None
    except ModelError as error:
        click.echo(f"fleet: {error}", err=True)
        raise SystemExit(USAGE) from None
    except FleetError as error:
        click.echo(f"fleet: {error.message} [{error.reason}]", err=True)
        raise SystemExit(_code(error)) from None
    except TimeoutError:
        click.echo("fleet: the model did not answer in time", err=True)
        raise SystemExit(FAILED) from None


def _code(error: FleetError) -> int:
    if isinstance(error, Unavailable):
        return UNREACHABLE
    if isinstance(error, NotFound):
        return USAGE
    return FAILED
