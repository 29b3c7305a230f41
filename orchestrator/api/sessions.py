"""Sessions: conversations and what was said in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.api import limits
from orchestrator.api.agents import Agents
from orchestrator.api.pages import how_many_fit, within_a_message
from orchestrator.domain import pages
from orchestrator.domain.errors import InvalidInput
from orchestrator.domain.ids import shard_from
from orchestrator.domain.messages import Message
from orchestrator.domain.sessions import Session
from orchestrator.ports.state import Page, SessionStore


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages from index `start` on."""

    start: int
    messages: tuple[Message, ...]
    next_token: str


class Sessions:
    def __init__(self, store: SessionStore, *, agents: Agents) -> None:
        self._store = store
        self._agents = agents

    async def create(self, tenant: str, *, agent: str, labels: Mapping[str, str]) -> Session:
        limits.labels(labels)
        if agent:
            await self._agents.get(tenant, agent, field="agent")
        return await self._store.create(tenant, agent=agent, labels=labels)

    async def get(self, tenant: str, session_id: str) -> Session:
        check_session_id(session_id)
        return await self._store.get(tenant, session_id)

    async def list(self, tenant: str, *, page_size: int, page_token: str) -> Page[Session]:
        limit = limits.page(page_size, page_token)
        return await within_a_message(
            lambda n: self._store.list(tenant, limit=n, token=page_token), limit
        )

    async def messages(
        self, tenant: str, session_id: str, *, page_size: int, page_token: str
    ) -> MessagePage:
        check_session_id(session_id)
        limit = limits.page(page_size, page_token)
        listing = f"messages {session_id}"
        start = _index(pages.decode(listing, tenant, page_token))
        # One more than asked for tells whether another page follows.
        found = await self._store.messages(tenant, session_id, start=start, limit=limit + 1)
        page = found[: how_many_fit(found[:limit])]
        following = str(start + len(page)) if len(found) > len(page) else ""
        return MessagePage(start, page, pages.encode(listing, tenant, following))

    async def fork(self, tenant: str, session_id: str) -> Session:
        check_session_id(session_id)
        return await self._store.fork(tenant, session_id)

    async def delete(self, tenant: str, session_id: str) -> None:
        check_session_id(session_id)
        await self._store.delete(tenant, session_id)


def check_session_id(value: str) -> None:
    _check_id(value, "session_id", "ses_")


def check_run_id(value: str) -> None:
    _check_id(value, "run_id", "run_")


def _check_id(value: str, field: str, prefix: str) -> None:
    limits.text(value, field, max_bytes=limits.NAME_BYTES, required=True)
    shard_from(value, field=field)
    if not value.startswith(prefix):
        raise InvalidInput(
            f"{field} {value!r} is the id of something else: it has to begin with {prefix!r}",
            field=field,
        )


def _index(position: str) -> int:
    if position and not (position.isdecimal() and len(position) <= 9):
        raise InvalidInput("page_token is not one of this listing", field="page_token")
    return int(position or 0)
