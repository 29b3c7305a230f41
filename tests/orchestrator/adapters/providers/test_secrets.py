"""Keys and prompts stay where they belong."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestrator.adapters.provider_connection import ApiKey, ProviderConnection
from orchestrator.domain.chat import MalformedToolCall
from orchestrator.domain.errors import FleetError, Remedy, Unavailable
from orchestrator.domain.messages import Message, Role
from tests.orchestrator.adapters.providers.dialects import (
    ASKED,
    DIALECTS,
    KEY,
    OPENAI,
    Call,
    Dialect,
    ask,
)
from tests.scripted_http import Ends, Received, Reply, ScriptedServer, failing

both = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)

PROMPT = "the wedding of Ottilie and Bertram is called off"
HEADER = "header-secret-9876543210"
SECRETS = (KEY, PROMPT, HEADER)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that anybody logs, at the lowest level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(exc_info)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _tells(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def _everything(error: BaseException | None) -> str:
    """The error, what it holds, its traceback, and the same of every error behind it."""
    if error is None:
        return ""
    told = [repr(error), str(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join([*told, _everything(error.__cause__), _everything(error.__context__)])


def _echo(dialect: Dialect, status: int) -> Reply:
    message = f"Incorrect key provided: {KEY}. You said: {PROMPT}. {HEADER}"
    return dialect.refusing(status, "invalid_request_error", message)


@both
@pytest.mark.parametrize(
    "case", ["well", 400, 401, 403, 404, 429, 500, "cut", "reset", "malformed", "inside", "page"]
)
async def test_no_log_and_no_error_tells_a_key_or_a_prompt(
    dialect: Dialect, case: object, logged: io.StringIO
) -> None:
    bad = Reply([f"event: message_start\ndata: {{{KEY} {PROMPT} {HEADER}\n\n".encode()])
    inside = dialect.failing_inside("invalid_request_error", f"{KEY} {PROMPT} {HEADER}")
    replies = {
        "well": dialect.reply("Fine", calls=[Call("calculator", ['{"e": 1}'])]),
        "cut": Reply([Ends.CUT]),
        "reset": Reply(before=Ends.RESET),
        "malformed": bad,
        "inside": Reply([inside]),
        "page": failing(400, f"<html>{KEY} {PROMPT} {HEADER}</html>"),
    }
    reply = replies[case] if isinstance(case, str) else _echo(dialect, int(str(case)))
    request = replace(ASKED, messages=(Message(role=Role.USER, content=PROMPT),))
    headers = {"x-team": SecretStr(HEADER)}
    server = ScriptedServer([reply])
    failed: Exception | None = None
    async with server, dialect.connected(server, headers=headers) as models:
        try:
            await ask(models, request)
        except (FleetError, MalformedToolCall) as error:
            failed = error

    assert (failed is None) is (case == "well")
    assert not _tells(_everything(failed))
    assert not _tells(logged.getvalue())
    (received,) = server.requests
    assert KEY in received.headers["authorization"]
    assert received.headers["x-team"] == HEADER
    assert PROMPT in received.body.decode()


@both
def test_no_repr_tells_a_key(dialect: Dialect) -> None:
    settings = ProviderConnection(
        name="far",
        base_url="http://127.0.0.1:9/v1",
        key=ApiKey("the file /keys/far", lambda: KEY),
        headers={"x-team": SecretStr(HEADER)},
    )
    models = dialect.models(settings, {})

    assert not _tells(f"{settings!r} {models!r} {vars(models)!r} {settings.key!r}")
    assert "the file /keys/far" in repr(settings)


@both
async def test_a_server_without_a_key_is_sent_none(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that the SDK finds in the environment."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_ORG_ID"):
        monkeypatch.setenv(name, KEY)
    server = ScriptedServer([dialect.reply("Ray")])
    async with server, dialect.connected(server, key=None) as models:
        await ask(models)

    (received,) = server.requests
    assert "authorization" not in received.headers
    assert KEY not in json.dumps(dict(received.headers))


@both
async def test_without_its_key_a_model_is_not_ready_and_says_why(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAR_KEY", raising=False)
    server = ScriptedServer([dialect.reply("Ray")])
    key = ApiKey.from_environment("FAR_KEY")
    async with server, dialect.connected(server, key=key) as models:
        assert not await models.ready("clever")
        with pytest.raises(Unavailable, match="the environment variable FAR_KEY holds no key") as e:
            await ask(models)

    assert e.value.remedy is Remedy.TRY_ANOTHER
    assert not server.requests


@both
async def test_a_refused_key_is_read_again_from_its_file(dialect: Dialect, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old-key\n")

    def only_new(received: Received) -> Reply:
        if received.headers["authorization"].endswith("new-key"):
            return dialect.reply("Ray")
        return dialect.refusing(401, "authentication_error")

    server = ScriptedServer(only_new)
    async with server, dialect.connected(server, key=ApiKey.from_file(file)) as models:
        with pytest.raises(Unavailable) as unchanged:
            await ask(models)
        file.write_text("new-key\n")
        several = await asyncio.gather(*(ask(models) for _ in range(3)), return_exceptions=True)
        changed = [error for error in several if isinstance(error, Unavailable)]
        assert (await ask(models)).text == "Ray"

    assert unchanged.value.remedy is Remedy.TRY_ANOTHER
    assert {error.remedy for error in changed} == {Remedy.RETRY_HERE}


@pytest.mark.parametrize("content", ["", "  \n", "two\nlines", "ключ", "tab\tin it"])
def test_what_can_stand_in_no_header_is_no_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content, "utf-8")
    assert f"{file} holds no key" in ApiKey.from_file(file).missing


def test_a_file_that_is_not_there_holds_no_key(tmp_path: Path) -> None:
    assert ApiKey.from_file(tmp_path / "none").missing


async def test_openais_own_organisation_goes_to_openai_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    server = ScriptedServer([OPENAI.reply("Ray")])
    async with server, OPENAI.connected(server) as models:
        await ask(models)

    assert "openai-organization" not in server.requests[0].headers
