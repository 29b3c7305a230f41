"""`fleet engines`."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TextIO

import click

from orchestrator.cli.connection import FAILED, INTERRUPTED
from orchestrator.cli.render import table
from orchestrator.cli.up import read_settings
from orchestrator.engines import (
    ENGINE,
    EngineError,
    EngineStore,
    Facts,
    Flavour,
    Progress,
    default_flavour,
    install,
    is_current,
    recipe,
    tiny_model,
)

_SILENT_S = 10.0
_CLEAR_LINE = "\r\033[K"
_COLUMNS = ("ENGINE", "FOR", "VERSION", "PYTORCH", "NUMPY", "STATE", "FOLDER")
_engine = click.argument("engine", type=click.Choice([ENGINE]))
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.group()
def engines() -> None:
    """Environments of their own for engines that need other packages than the stack."""


@engines.command("install")
@_engine
@click.option("--cpu", "wanted", flag_value=Flavour.CPU.value, help="For this machine's CPU.")
@click.option("--cuda", "wanted", flag_value=Flavour.CUDA.value, help="For NVIDIA GPUs.")
@click.option("--reinstall", is_flag=True, help="Make it anew, also when it is there.")
@_json
def install_engine(engine: str, wanted: str | None, reinstall: bool, as_json: bool) -> None:
    """Install an engine with versions that are known to run together.

    \b
    fleet engines install vllm          CUDA where there is a GPU, else the CPU
    fleet engines install vllm --cpu

    It goes into .fleet/engines, is checked with one generation, and counts only then. A second
    call does nothing. pip's own settings say where the packages come from.
    """
    settings = read_settings()
    store = EngineStore(settings.home)
    flavour = Flavour(wanted) if wanted else None

    def work() -> None:
        with store.exclusive():
            chosen = recipe(flavour or _kept(store) or default_flavour())
            facts = store.facts()
            if facts is not None and is_current(facts, chosen) and not reinstall:
                _tell(f"{engine} for {chosen.flavour} is there", store, facts, as_json)
                return
            replaced = store.folder() is not None
            bar = _Bar(sys.stderr)
            model = tiny_model(settings.triton.repositories)
            try:
                facts = install(store, chosen, model, Progress(bar.step, bar.detail))
            finally:
                bar.end()
            _tell(f"{engine} for {chosen.flavour} is installed", store, facts, as_json)
        if replaced and not as_json:
            click.echo("a model that runs on the old one needs: fleet models load NAME")

    _finish(work)


@engines.command("list")
@_json
def list_engines(as_json: bool) -> None:
    """List the engines that are installed."""
    store = EngineStore(read_settings().home)
    facts = store.facts()
    if facts is None:
        broken = store.folder() is not None
        said = "moved or incomplete, install it again" if broken else "not installed"
        shown = {"engine": ENGINE, "state": said}
        row = (ENGINE, "-", "-", "-", "-", said, "-")
    else:
        state = (
            "ready" if is_current(facts, recipe(facts.flavour)) else "other versions are pinned now"
        )
        shown = {"engine": ENGINE, "state": state, **asdict(facts)}
        row = (
            *(ENGINE, facts.flavour.value, facts.version, facts.torch, facts.numpy),
            *(state, str(store.link)),
        )
    click.echo(json.dumps(shown) if as_json else table(_COLUMNS, [row]))


@engines.command()
@_engine
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(engine: str, yes: bool) -> None:
    """Remove an engine's environment.

    Models that run on it load no more: fleet models engine NAME openvino_genai first.
    """
    store = EngineStore(read_settings().home)

    def work() -> None:
        with store.exclusive():
            if store.folder() is None and not store.link.is_symlink():
                raise EngineError(f"{engine} is not installed in {store.root}")
            if not yes:
                click.confirm(f"Remove {store.link}?", abort=True, err=True)
            store.remove()
        click.echo(f"{engine} is removed")

    _finish(work)


def _kept(store: EngineStore) -> Flavour | None:
    """Of what is installed: a call without a flavour leaves it."""
    facts = store.facts()
    return facts.flavour if facts else None


def _tell(sentence: str, store: EngineStore, facts: Facts, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"engine": ENGINE, "folder": str(store.link), **asdict(facts)}))
        return
    click.echo(f"{sentence}: {facts.version}, PyTorch {facts.torch}, in {store.link}")


def _finish(work: Callable[[], None]) -> None:
    # Else pip, which runs in a group of its own, would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work()
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was changed", err=True)
        raise SystemExit(INTERRUPTED) from None
    except EngineError as error:
        click.echo(f"fleet: {error}", err=True)
        raise SystemExit(FAILED) from None


class _Bar:
    """A line a step; on a terminal the line of a long one changes as it goes on."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._step = ""
        self._began = self._last = 0.0

    def step(self, text: str) -> None:
        self.end()
        self._step = text
        self._began = self._last = time.monotonic()
        self._write(f"{text} …")

    def detail(self, text: str) -> None:
        now = time.monotonic()
        if self._terminal or now - self._last >= _SILENT_S:
            self._last = now
            self._write(f"{self._step}: {text}")

    def end(self) -> None:
        if self._step:
            self._write(f"{self._step}: {time.monotonic() - self._began:.0f} s", last=True)
        self._step = ""

    def _write(self, text: str, *, last: bool = False) -> None:
        end = "" if self._terminal and not last else "\n"
        self._out.write(f"{_CLEAR_LINE if self._terminal else ''}  {text}{end}")
        self._out.flush()
