"""`fleet models`."""

from __future__ import annotations

import click

from orchestrator.cli.models_add import add
from orchestrator.cli.models_change import load, remove, unload
from orchestrator.cli.models_list import list_models


@click.group()
def models() -> None:
    """The catalogue of language models, and adding your own."""


for _command in (list_models, add, load, unload, remove):
    models.add_command(_command)
