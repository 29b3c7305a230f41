"""One pool of connections a provider."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.domain.errors import Remedy, Unavailable
from tests.orchestrator.adapters.providers.dialects import ASKED, DIALECTS, Dialect, ask
from tests.scripted_http import Part, Received, Reply, ScriptedServer, failing

both = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)

CONNECTIONS = 20
REQUESTS = 200


@both
async def test_many_requests_open_no_more_than_the_limit_and_a_second_wave_none(
    dialect: Dialect,
) -> None:
    busy, all_busy = 0, asyncio.Event()

    def at_once(_: Received) -> Reply:
        nonlocal busy
        busy += 1
        if busy == CONNECTIONS:
            all_busy.set()
        # The first answers wait until as many requests are there as may be.
        return Reply([*dialect.answer("Ray")], before=all_busy)

    server = ScriptedServer(at_once)
    async with server, dialect.connected(server, max_connections=CONNECTIONS) as models:
        for _ in range(2):
            answered = await asyncio.gather(*(ask(models, replace(ASKED)) for _ in range(REQUESTS)))
            assert {one.text for one in answered} == {"Ray"}
            assert server.accepted == CONNECTIONS

    assert server.at_once == CONNECTIONS
    assert len(server.requests) == 2 * REQUESTS


@both
async def test_a_refused_request_leaves_its_connection_to_the_next(dialect: Dialect) -> None:
    script = [dialect.refusing(429, "rate_limit_error"), dialect.reply("Ray")]
    async with ScriptedServer(script) as server, dialect.connected(server) as models:
        with pytest.raises(Unavailable):
            await ask(models)
        assert (await ask(models)).text == "Ray"

    assert server.accepted == 1


@both
async def test_closing_an_answer_early_stops_the_provider_and_frees_the_place(
    dialect: Dialect,
) -> None:
    unending = Reply([*dialect.answer("Ray", finish="", usage=None), asyncio.Event()])
    server = ScriptedServer([unending, dialect.reply("Ray")])
    async with server, dialect.connected(server, max_connections=1) as models:
        async with aclosing(models.chat(ASKED)) as chunks:
            await anext(chunks)
        await asyncio.wait_for(server.client_left.wait(), 5)
        assert (await ask(models)).text == "Ray"


@both
@pytest.mark.parametrize("begun", [False, True], ids=["unanswered", "streaming"])
async def test_cancelling_a_request_stops_the_provider_and_frees_the_place(
    dialect: Dialect, begun: bool
) -> None:
    never, arrived = asyncio.Event(), asyncio.Event()
    parts = dialect.answer("Ray", finish="", usage=None) if begun else []
    held = Reply([*parts, never], before=None if begun else never)

    def replies(_: Received) -> Reply:
        if arrived.is_set():
            return dialect.reply("Ray")
        arrived.set()
        return held

    server = ScriptedServer(replies)
    async with server, dialect.connected(server, max_connections=1) as models:
        asking = asyncio.create_task(ask(models))
        await asyncio.wait_for(arrived.wait(), 5)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(server.client_left.wait(), 5)
        assert (await ask(models)).text == "Ray"


@both
async def test_cancels_at_any_moment_cost_the_others_nothing(dialect: Dialect) -> None:
    """Each piece waits for its own turn of the loop, so that cancels fall everywhere."""
    moment = asyncio.Event()
    parts: list[Part] = [part for event in dialect.answer("a", "b") for part in (event, moment)]

    async def pulse() -> None:
        while True:
            moment.set()
            moment.clear()
            await asyncio.sleep(0.001)

    server, pulsing = ScriptedServer([Reply(parts)]), asyncio.create_task(pulse())
    async with server, dialect.connected(server, max_connections=CONNECTIONS) as models:
        asking = [asyncio.create_task(ask(models, replace(ASKED))) for _ in range(REQUESTS)]
        for number, task in enumerate(asking[::2]):
            asyncio.get_running_loop().call_later(number * 0.002, task.cancel)
        results = await asyncio.gather(*asking, return_exceptions=True)
        kept = {one.text for one in results[1::2] if not isinstance(one, BaseException)}
        again = await asyncio.gather(*(ask(models, replace(ASKED)) for _ in range(CONNECTIONS)))
    pulsing.cancel()

    assert kept == {"ab"}
    assert not [one for one in results[1::2] if isinstance(one, BaseException)]
    assert any(isinstance(one, asyncio.CancelledError) for one in results[::2])
    assert len(again) == CONNECTIONS
    assert server.at_once <= CONNECTIONS + server.left  # a server hears of a cancel a moment later


@both
async def test_waiting_for_a_connection_has_an_end(dialect: Dialect) -> None:
    held, later = asyncio.Event(), replace(ASKED)
    reply = Reply(dialect.answer("Ray"), before=held)
    server = ScriptedServer([reply])
    settings: dict[str, Any] = {"max_connections": 1, "first_byte_s": 0.3}
    async with server, dialect.connected(server, **settings) as models:
        first = asyncio.create_task(ask(models))
        with pytest.raises(Unavailable, match="all in use") as raised:
            await asyncio.gather(ask(models, later), ask(models, later))
        held.set()
        with suppress(Unavailable):
            await first

    assert raised.value.remedy is Remedy.TRY_ANOTHER


@both
async def test_a_model_is_ready_while_its_server_answers(dialect: Dialect) -> None:
    models_page = failing(200, {"data": [], "object": "list", "has_more": False})
    async with ScriptedServer([models_page]) as server, dialect.connected(server) as models:
        assert await asyncio.gather(*(models.ready("clever") for _ in range(5))) == [True] * 5
        assert not await models.ready("other")

    (asked,) = server.requests
    assert asked.path.partition("?")[0] == "/v1/models"


@both
@pytest.mark.parametrize(("status", "ready"), [(401, False), (500, False), (404, True)])
async def test_readiness_is_about_reaching_the_server_with_the_key(
    dialect: Dialect, status: int, ready: bool
) -> None:
    reply = dialect.refusing(status, "any")
    async with ScriptedServer([reply]) as server, dialect.connected(server) as models:
        assert await models.ready("clever") is ready


@both
async def test_http2_is_asked_for_only_where_it_can_be_spoken(dialect: Dialect) -> None:
    """The scripted server speaks HTTP/1.1, and so do packages without `h2`."""
    server = ScriptedServer([dialect.reply("Ray")])
    async with server, dialect.connected(server, http2=True) as models:
        assert (await ask(models)).text == "Ray"


@both
async def test_a_proxy_of_the_environment_does_not_lead_to_this_machine(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    server = ScriptedServer([dialect.reply("Ray")])
    async with server, dialect.connected(server) as models:
        assert (await ask(models)).text == "Ray"
