"""`fleet models load`, `unload` and `remove`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import click

from orchestrator.added_models import ModelError, ModelStore
from orchestrator.added_models.serving import ModelDesk
from orchestrator.cli.model_server import at_desk, finish, known_models
from orchestrator.cli.up import read_settings
from orchestrator.domain.catalogue import ModelEntry
from orchestrator.settings import Settings

as_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.command()
@click.argument("name")
@as_json_option
def load(name: str, as_json: bool) -> None:
    """Load a model into the running Triton.

    One that is loaded is loaded again, from its changed files. It is loaded
    at every start from now on.
    """
    _change(name, "loaded", as_json, lambda desk, entry: desk.load(entry.served_as))


@click.command()
@click.argument("name")
@as_json_option
def unload(name: str, as_json: bool) -> None:
    """Take a model out of Triton's memory.

    It stays in the catalogue and on the disk. What runs in it may end first. It stays
    unloaded over restarts, until `fleet models load`.
    """
    _change(name, "unloaded", as_json, lambda desk, entry: desk.unload(entry.served_as))


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Remove an added model and its files.

    It goes out of the catalogue, out of Triton and off the disk.
    """
    settings = read_settings()
    store = ModelStore(settings.models_dir)

    def work() -> None:
        folder = _added(settings, store, name)
        if not yes:
            click.confirm(f"Remove {name} and the files in {folder}?", abort=True, err=True)
        with store.exclusive():
            asyncio.run(
                at_desk(
                    settings,
                    store,
                    settings.models,
                    lambda desk: desk.remove(name),
                    also_without_triton=True,
                )
            )
        _tell(name, "removed", as_json)

    finish(work)


def _added(settings: Settings, store: ModelStore, name: str) -> object:
    if name in settings.models or any(
        (repository / name).exists() for repository in settings.triton.repositories
    ):
        raise ModelError(
            f"{name} was not added: it comes with the repository or the settings, and can only "
            f"be unloaded: fleet models unload {name}"
        )
    folder = store.folder(name)
    if not folder.is_dir():
        there = ", ".join(store.names()) or "none"
        raise ModelError(f"there is no added model {name!r}; there are: {there}")
    return folder


def _change(
    name: str,
    done: str,
    as_json: bool,
    work: Callable[[ModelDesk, ModelEntry], Awaitable[None]],
) -> None:
    settings = read_settings()
    store = ModelStore(settings.models_dir)

    def change() -> None:
        catalogue = known_models(settings, store)
        entry = catalogue.get(name)
        if entry is None:
            raise ModelError(f"there is no model {name!r}; there are: {', '.join(catalogue)}")
        with store.exclusive():
            asyncio.run(at_desk(settings, store, catalogue, lambda desk: work(desk, entry)))
        _tell(name, done, as_json)

    finish(change)


def _tell(name: str, done: str, as_json: bool) -> None:
    click.echo(json.dumps({"name": name, "state": done}) if as_json else f"{name} is {done}")
