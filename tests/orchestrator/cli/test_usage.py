"""What holds for every command: help that can be read, wrong input that is explained."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import main
from orchestrator.cli.connection import UNREACHABLE
from tests.orchestrator.cli.terminal import fleet_command

NOBODY = "127.0.0.1:1"


def every(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from every(inner, (*path, name))


COMMANDS = list(every(main))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_eighty_columns_and_no_sentence_is_cut(path: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(main, [*path, "--help"], env={"COLUMNS": "80"})
    assert ended.exit_code == 0
    lines = ended.output.splitlines()
    assert lines[0].startswith("Usage: ")
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]


@pytest.mark.parametrize(
    "command",
    [
        "ask hi",
        "agents list",
        "agents show clerk",
        "sessions list",
        "sessions show ses_00_x",
        "sessions fork ses_00_x",
        "sessions delete a b",
        "runs list",
        "models list",
        "dlq list",
        "dlq redrive a b",
    ],
)
@pytest.mark.parametrize("address", ["nope", "127.0.0.1:70000", "127.0.0.1:1\nx:1", "a b:1"])
def test_an_address_that_is_none_is_wrong_usage(command: str, address: str) -> None:
    ended = CliRunner().invoke(main, [*command.split(), "--address", address])
    assert ended.exit_code == 2
    said = f"Error: the address {address!r} is not host:port, such as 127.0.0.1:50051"
    assert ended.output.splitlines()[-1] == said


@pytest.mark.parametrize(
    "command",
    ["agents list", "agents show clerk", "sessions list", "sessions delete a b", "dlq redrive a b"],
)
async def test_a_service_that_is_not_there_is_told_from_wrong_input(command: str) -> None:
    ended = await fleet_command(NOBODY, *command.split())
    assert (ended.code, ended.out) == (UNREACHABLE, "")
    assert ended.err == f"fleet: nothing answers at {NOBODY}; start it with: fleet up\n"


@pytest.mark.parametrize("key", ["a\nb", "käse", "a b"])
def test_an_api_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    arguments = ["runs", "list", "--address", NOBODY]
    ended = CliRunner().invoke(main, arguments, env={"FLEET_API_KEY": key})
    assert ended.exit_code == 2
    assert key not in ended.output
    assert "$FLEET_API_KEY has characters" in ended.output


def test_an_argument_that_is_no_text_is_refused() -> None:
    ended = CliRunner().invoke(main, ["ask", "\udcff", "--address", NOBODY])
    assert ended.exit_code == 2
    assert ended.output.splitlines()[-1] == r"Error: the argument '\udcff' is not UTF-8 text"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--timeout", "soon", "'soon' is not a number."),
        ("--timeout", "0", "'0' is not from 0.001 to 1000000000."),
        ("--timeout", "nan", "'nan' is not from"),
        ("--timeout", "1.0005", "'1.0005' is not a multiple of 0.001."),
        ("--max-steps", "-1", "'-1' is not from 1 to"),
        ("--max-steps", "1.5", "'1.5' is not a multiple of 1."),
        ("--max-steps", "4294967296", "is not from 1 to 4294967295."),
        ("--max-tokens", "1e30", "'1e30' is not from 1 to"),
        ("--max-cost", "0.0000001", "'0.0000001' is not from 0.000001 to"),
        ("--when-busy", "never", "'never' is not one of 'reject', 'enqueue', 'interrupt'."),
    ],
)
def test_a_wrong_option_of_ask_is_explained(option: str, value: str, said: str) -> None:
    ended = CliRunner().invoke(main, ["ask", "hi", option, value, "--address", NOBODY])
    assert ended.exit_code == 2
    assert f"Invalid value for '{option}'" in ended.output
    assert said in ended.output
