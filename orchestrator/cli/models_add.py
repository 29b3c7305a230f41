"""`fleet models add`."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import click

from orchestrator.added_models import ModelError, ModelStore
from orchestrator.added_models.conversion import PRECISIONS, Converter
from orchestrator.added_models.engine_files import VllmHost
from orchestrator.added_models.live import FOLLOW_S
from orchestrator.added_models.making import Maker, Wish
from orchestrator.added_models.serving import ModelDesk
from orchestrator.added_models.source import Engine
from orchestrator.cli.connection import resolve
from orchestrator.cli.model_server import at_desk, finish, known_models, vllm_host
from orchestrator.cli.models_change import as_json_option
from orchestrator.cli.render import printable
from orchestrator.cli.up import read_settings, say
from orchestrator.client import CallError, FleetClient
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.settings import Settings
from orchestrator.supervisor.record import runtime_folder
from orchestrator.tool_calls import FORMATS

_SEEN_WITHIN_S = 10.0
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("name")
@click.option("--from", "source", required=True, help="A folder, hf:ID or ov:ID (@REVISION).")
@click.option("--engine", type=click.Choice([e.value for e in Engine]), help="What runs it.")
@click.option("--like", metavar="MODEL", help="Prices and quality as that model's.")
@click.option("--context", type=click.IntRange(64), help="Tokens of prompt and answer together.")
@click.option("--tool-format", type=click.Choice(sorted(FORMATS)), help="How it calls tools.")
@click.option("--chat-template", type=_FILE, help="Instead of the model's own.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp16", help="Of a conversion.")
@click.option("--no-load", is_flag=True, help="Only write it; `fleet models load` loads it.")
@click.option("--force", is_flag=True, help="Also when the memory seems too small.")
@as_json_option
def add(
    *,
    name: str,
    source: str,
    engine: str | None,
    like: str | None,
    context: int | None,
    tool_format: str | None,
    chat_template: Path | None,
    precision: str,
    no_load: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Add a language model of your own to the running stack.

    \b
    fleet models add qwen --from ./Qwen2-0.5B-ov --like llm_small
    fleet models add qwen --from ov:Qwen2.5-0.5B-Instruct-int4-ov
    fleet models add qwen --from hf:Qwen/Qwen2.5-0.5B-Instruct --engine vllm

    Its files are copied, a Triton model and a catalogue entry are written, it is loaded without
    a restart and asked one question. When anything fails, nothing is left of it.
    """
    settings = read_settings()
    store = ModelStore(settings.models_dir)

    def work() -> None:
        with store.exclusive():
            catalogue = known_models(settings, store)
            _check_name(name, settings, store)
            chosen = Engine(engine or Engine.OPENVINO_GENAI)
            host = _host(settings) if chosen is Engine.VLLM else VllmHost()
            wish = Wish(
                name,
                source,
                engine=chosen,
                vllm_host=host or VllmHost(),
                like=_like(like, catalogue),
                context=context,
                tool_format=tool_format,
                chat_template=chat_template,
                precision=precision,
                memory_here=not settings.triton.is_elsewhere and not no_load,
                forced=force,
            )
            loads = not no_load and host is not None and _has_backend(settings, chosen)
            if loads:  # before anything that takes long
                asyncio.run(at_desk(settings, store, catalogue, _nothing))
            backends = settings.triton.backends if settings.triton.backends.is_dir() else None
            maker = Maker(store, Converter(settings.home.absolute(), say), backends, say)
            entry = maker.make(wish)
            answer = None
            if loads:
                answer = _serve(settings, store, entry)
            else:
                _leave(store, entry)
        _tell(store, entry, chosen, answer, as_json)

    finish(work)


def _check_name(name: str, settings: Settings, store: ModelStore) -> None:
    store.folder(name)  # a good name at all
    for repository in settings.triton.repositories:
        if (repository / name).exists():
            raise ModelError(f"{name!r} is a model of {repository}: choose another name")
    if name in settings.models:
        raise ModelError(f"{name!r} is in the catalogue of the settings: choose another name")
    if name in store.names():
        raise ModelError(
            f"{name!r} is there already: choose another name, or first fleet models remove {name}"
        )


def _like(name: str | None, catalogue: dict[str, ModelEntry]) -> ModelEntry | None:
    if name is not None and name not in catalogue:
        there = ", ".join(catalogue)
        raise ModelError(f"--like {name}: there is no such model; there are: {there}")
    return catalogue[name] if name else None


async def _nothing(_: ModelDesk) -> None:
    """That Triton answers is all that is wanted."""


def _leave(store: ModelStore, entry: ModelEntry) -> None:
    """Puts it into the catalogue, unloaded."""
    store.remember(entry.name, unloaded=True)
    store.publish(entry)


def _serve(settings: Settings, store: ModelStore, entry: ModelEntry) -> str:
    """Returns its answer."""
    answers: list[str] = []

    async def bring_up(desk: ModelDesk) -> None:
        answers.append(await desk.bring_up(entry))
        await _until_known(entry.name)

    asyncio.run(at_desk(settings, store, {entry.name: entry}, bring_up))
    return answers[0]


def _host(settings: Settings) -> VllmHost | None:
    try:
        return vllm_host(settings)
    except ModelError as error:
        say(f"{error}. The model is only written")
        return None


def _has_backend(settings: Settings, engine: Engine) -> bool:
    """What another machine's Triton has is seen when it loads the model."""
    places = (settings.triton.backends, runtime_folder(settings.home) / "triton" / "backends")
    if settings.triton.is_elsewhere or any(
        (place / engine / "model.py").is_file() for place in places
    ):
        return True
    say(f"Triton has no backend {engine} here: the model is only written")
    return False


async def _until_known(name: str) -> None:
    """Waits until the api, if one runs here, has the new entry, and the workers have it too."""
    deadline = time.monotonic() + _SEEN_WITHIN_S
    async with FleetClient.open(resolve(None)) as client:
        while time.monotonic() < deadline:
            try:
                if any(model.name == name for model in await client.models()):
                    await asyncio.sleep(2 * FOLLOW_S)
                    return
            except CallError:
                return
            await asyncio.sleep(0.1)


def _tell(
    store: ModelStore, entry: ModelEntry, engine: Engine, answer: str | None, as_json: bool
) -> None:
    state = "unloaded" if answer is None else "ready"
    if as_json:
        facts = entry.model_dump(mode="json")
        more = {"engine": engine.value, "state": state, "answer": answer}
        click.echo(json.dumps({**facts, **more, "folder": str(store.folder(entry.name))}))
        return
    if answer is None:
        click.echo(f"{entry.name} is written; load it with: fleet models load {entry.name}")
    else:
        click.echo(f"{entry.name} is ready; it answered: {printable(answer)!s}")
