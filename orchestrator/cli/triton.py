"""`fleet triton`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.added_models import ModelStore
from orchestrator.cli.connection import FAILED
from orchestrator.cli.render import counted
from orchestrator.settings import SettingsError, load_settings
from orchestrator.triton.check import check_repositories


@click.group()
def triton() -> None:
    """The model repositories."""


@triton.command()
@click.argument(
    "repositories", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--backends",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of Python-based backends. Default: the configured one.",
)
def check(repositories: tuple[Path, ...], backends: Path | None) -> None:
    """Validate model repositories without a server.

    \b
    fleet triton check
    fleet triton check model_repository ensembles

    Every problem is printed as path:line: what is wrong. Exit code 1 when there is one.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    added = ModelStore(settings.models_dir).repository
    served = (*settings.triton.repositories, *([added] if added.is_dir() else []))
    folders = repositories or served
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise click.UsageError(
            f"{missing[0]} is not a folder here; name the repositories, or set "
            "[triton] repositories in fleet.toml"
        )
    problems = check_repositories(folders, backends or settings.triton.backends)
    for problem in problems:
        click.echo(str(problem))
    if problems:
        raise SystemExit(FAILED)
    count = sum(1 for folder in folders for _ in folder.glob("*/config.pbtxt"))
    click.echo(f"{counted(count, 'model')} in {', '.join(map(str, folders))}: no problem found")
