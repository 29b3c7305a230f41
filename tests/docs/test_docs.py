"""The documents name what exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from orchestrator.cli import main
from orchestrator.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.md")])


def named(page: Path, pattern: str) -> Iterator[str]:
    yield from (match[1] for match in re.finditer(pattern, page.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in named(page, r"\]\(([^)#\s]+)") if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_script_that_is_named_is_there(page: Path) -> None:
    scripts = {name.rstrip(".") for name in named(page, r"\bscripts/([a-z_]+)")}
    assert [name for name in sorted(scripts) if not (ROOT / "scripts" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_is_there(page: Path) -> None:
    lines = named(page, r"(?:^\$ (?:\.venv/bin/)?|`)fleet ((?:[a-z]+ ?)+)")
    unknown = [line for line in lines if not _is_command(line.split())]
    assert unknown == []


def test_every_setting_that_is_documented_exists() -> None:
    page = ROOT / "docs" / "cli.md"
    rows = [row.split("|")[1] for row in page.read_text("utf-8").splitlines() if "| `" in row[:3]]
    names = [name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)]
    assert "worker.slots" in names
    assert [name for name in names if "fleet" not in name and not _is_setting(name)] == []


def _is_command(words: list[str]) -> bool:
    command: click.Command | None = main
    context = click.Context(main)
    for word in words:
        if not isinstance(command, click.Group):
            return True  # what follows are its arguments
        command = command.get_command(context, word)
        if command is None:
            return False
    return True


def _is_setting(name: str) -> bool:
    section: type[BaseModel] = Settings
    for part in name.split("."):
        field = section.model_fields.get(part)
        if field is None:
            return False
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            section = field.annotation
    return True
