"""`fleet models engine`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from orchestrator.added_models import ModelError, ModelStore
from orchestrator.added_models.engine_files import VllmHost
from orchestrator.added_models.serving import ModelDesk
from orchestrator.added_models.source import Engine
from orchestrator.added_models.switching import (
    Switch,
    begin,
    current_engine,
    find_folder,
    left_behind,
    plan_switch,
)
from orchestrator.cli.model_server import at_desk, finish, known_models, vllm_host
from orchestrator.cli.models_change import as_json_option
from orchestrator.cli.render import printable
from orchestrator.cli.up import read_settings, say
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.domain.errors import Unavailable
from orchestrator.settings import Settings


@click.command()
@click.argument("name")
@click.argument("engine", type=click.Choice([each.value for each in Engine]))
@as_json_option
def engine(name: str, engine: str, as_json: bool) -> None:
    """Switch the engine that runs a model, in place.

    \b
    fleet models engine llm_large vllm
    fleet models engine llm_large openvino_genai

    Of its folder config.pbtxt and 1/model.json change. Where Triton runs, the model is loaded
    again and asked one question; when that fails, the old engine is back.
    """
    settings = read_settings()
    store = ModelStore(settings.models_dir)
    wanted = Engine(engine)

    def work() -> None:
        catalogue = known_models(settings, store)
        entry = catalogue.get(name)
        if entry is None:
            raise ModelError(f"there is no model {name!r}; there are: {', '.join(catalogue)}")
        with store.exclusive():
            _take_back(store)
            repositories = (*settings.triton.repositories, store.repository)
            folder = find_folder(entry.served_as, repositories)
            if current_engine(folder) is wanted:
                _tell(name, wanted, "unchanged", None, as_json)
                return
            switch = _begin(settings, store, entry, folder, wanted)
            state, answer = _load(settings, store, entry, switch)
            switch.finish()
        _tell(name, wanted, state, answer, as_json)

    finish(work)


def _journals(store: ModelStore) -> Path:
    return store.root / "switching"


def _take_back(store: ModelStore) -> None:
    for cut_off in left_behind(_journals(store)):
        cut_off.undo()
        say(f"a change of {cut_off.folder.name}'s engine was cut off: its old files are back")


def _begin(
    settings: Settings, store: ModelStore, entry: ModelEntry, folder: Path, wanted: Engine
) -> Switch:
    # The packages of the engine that goes tell, too, what was written for it.
    try:
        host = vllm_host(settings)
    except ModelError:
        if wanted is Engine.VLLM:
            raise
        host = VllmHost()
    plan = plan_switch(folder, wanted, host, entry.context_tokens)
    backends = settings.triton.backends if settings.triton.backends.is_dir() else None
    return begin(_journals(store), folder, plan, backends)


def _load(
    settings: Settings, store: ModelStore, entry: ModelEntry, switch: Switch
) -> tuple[str, str | None]:
    """Returns what the model is now, and its answer where it was loaded."""
    if entry.served_as in store.unloaded():
        return "unloaded", None
    answers: list[str] = []

    async def reload(desk: ModelDesk) -> None:
        answers.append(await desk.reload(entry, switch.undo))

    try:
        asyncio.run(at_desk(settings, store, {entry.name: entry}, reload))
    except Unavailable:
        if not answers and switch.journal.exists():  # nothing was tried
            return "not running", None
        raise
    return "ready", answers[0]


def _tell(name: str, engine: Engine, state: str, answer: str | None, as_json: bool) -> None:
    if as_json:
        facts = {"name": name, "engine": engine.value, "state": state, "answer": answer}
        click.echo(json.dumps(facts))
    elif state == "unchanged":
        click.echo(f"{name} runs on {engine} already")
    elif answer is not None:
        click.echo(f"{name} runs on {engine}; it answered: {printable(answer)!s}")
    else:
        when = (
            "Triton starts" if state == "not running" else f"it is loaded: fleet models load {name}"
        )
        click.echo(f"{name} will run on {engine} when {when}")
