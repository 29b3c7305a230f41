"""`fleet models`."""

from __future__ import annotations

import click

from orchestrator.cli.models_add import add
from orchestrator.cli.models_change import load, remove, unload
from orchestrator.cli.models_engine import engine
from orchestrator.cli.models_list import list_models


@click.group()
def models() -> None:
    """The catalogue of language models, adding your own, and changing engines."""


for _command in (list_models, add, engine, load, unload, remove):
    models.add_command(_command)
