"""What every cache of answers does."""

from __future__ import annotations

import asyncio
from hashlib import sha256

from orchestrator.domain.chat import FinishReason
from orchestrator.domain.messages import ToolCall
from orchestrator.domain.runs import Usage
from orchestrator.ports.answers import (
    AnswerCache,
    AnswerKey,
    AnswerLimits,
    Candidate,
    Likeness,
    Put,
    StoredAnswer,
)
from tests.orchestrator.adapters.answers.conftest import Open

ANSWER = StoredAnswer(
    text="It is 42, naïve, isn't it?",
    calls=(ToolCall(call_id="call_1", name="calculator", arguments_json='{"expression": "6*7"}'),),
    reason=FinishReason.TOOL_CALLS,
    usage=Usage(prompt_tokens=7, completion_tokens=5, cached_prompt_tokens=3),
    confidence=0.75,
)


def key(name: str, tenant: str = "acme") -> AnswerKey:
    return AnswerKey(tenant, sha256(name.encode()).hexdigest())


def text(of: str) -> StoredAnswer:
    return StoredAnswer(text=of, reason=FinishReason.STOP)


async def put(
    answers: AnswerCache, at: AnswerKey, answer: StoredAnswer, likeness: Likeness | None = None
) -> Put:
    return await answers.put(at, answer, flight="f", owner="nobody", likeness=likeness)


async def claim(answers: AnswerCache, owner: str, lease_s: float = 60.0) -> StoredAnswer | bool:
    return await answers.claim(key("a"), "flight", owner=owner, lease_s=lease_s)


async def claimed_in_time(answers: AnswerCache, owner: str) -> None:
    async with asyncio.timeout(10):
        while await claim(answers, owner) is not True:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_an_answer_comes_back_as_it_was_put(answers: AnswerCache) -> None:
    assert await answers.get(key("a")) is None
    assert (await put(answers, key("a"), ANSWER)).stored
    assert await answers.get(key("a")) == ANSWER
    assert await answers.claim(key("a"), "f", owner="me", lease_s=1.0) == ANSWER


async def test_another_tenants_answer_to_the_same_digest_is_not_found(
    answers: AnswerCache,
) -> None:
    await put(answers, key("a", "acme"), ANSWER)
    assert await answers.get(key("a", "globex")) is None
    assert await answers.claim(key("a", "globex"), "f", owner="me", lease_s=1.0) is True


async def test_one_owner_at_a_time_has_the_lease(answers: AnswerCache) -> None:
    assert await claim(answers, "first") is True
    assert await claim(answers, "second") is False
    assert await claim(answers, "first") is True
    await answers.release(key("a"), "flight", owner="second")
    assert await claim(answers, "second") is False
    await answers.release(key("a"), "flight", owner="first")
    assert await claim(answers, "second") is True


async def test_the_leases_of_two_flights_and_of_two_tenants_are_apart(
    answers: AnswerCache,
) -> None:
    assert await answers.claim(key("a"), "one", owner="x", lease_s=60.0) is True
    assert await answers.claim(key("a"), "two", owner="y", lease_s=60.0) is True
    assert await answers.claim(key("a", "globex"), "one", owner="z", lease_s=60.0) is True


async def test_a_lease_ends_by_itself_when_nobody_extends_it(answers: AnswerCache) -> None:
    assert await claim(answers, "first", lease_s=0.05) is True
    await claimed_in_time(answers, "second")


async def test_a_lease_that_is_extended_stays(answers: AnswerCache) -> None:
    assert await claim(answers, "first", lease_s=0.5) is True
    await answers.extend(key("a"), "flight", owner="first", lease_s=60.0)
    await answers.extend(key("a"), "flight", owner="second", lease_s=0.001)
    await asyncio.sleep(0.6)  # its first time has passed
    assert await claim(answers, "second") is False


async def test_putting_the_answer_ends_its_owners_lease_only(answers: AnswerCache) -> None:
    await claim(answers, "first")
    await answers.put(key("b"), ANSWER, flight="flight", owner="second")
    assert await claim(answers, "third") is False
    await answers.put(key("b"), ANSWER, flight="flight", owner="first")
    assert await claim(answers, "third") is True


async def test_an_answer_is_forgotten_after_its_time(open_answers: Open) -> None:
    async with open_answers(AnswerLimits(ttl_s=0.05)) as answers:
        await put(answers, key("a"), ANSWER)
        async with asyncio.timeout(10):
            while await answers.get(key("a")) is not None:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


async def test_the_answer_that_was_not_asked_for_the_longest_goes_first(
    open_answers: Open,
) -> None:
    async with open_answers(AnswerLimits(entries=3)) as answers:
        for name in ("a", "b", "c"):
            assert (await put(answers, key(name), text(name))).evicted == 0
        await answers.get(key("a"))
        assert (await put(answers, key("d"), text("d"))).evicted == 1
        kept = [name for name in "abcd" if await answers.get(key(name)) is not None]
        assert kept == ["a", "c", "d"]


async def test_a_tenants_answers_have_so_many_bytes_and_another_tenants_stay(
    open_answers: Open,
) -> None:
    async with open_answers(AnswerLimits(bytes=4_000)) as answers:
        await put(answers, key("kept", "globex"), text("y" * 3_000))
        for n in range(20):
            assert (await put(answers, key(str(n)), text("x" * 1_000))).stored
        left = [n for n in range(20) if await answers.get(key(str(n))) is not None]
        assert 1 <= len(left) <= 3
        assert left == list(range(20))[-len(left) :]
        assert await answers.get(key("kept", "globex")) is not None


async def test_replacing_an_answer_takes_no_more_room(open_answers: Open) -> None:
    async with open_answers(AnswerLimits(entries=2, bytes=4_000)) as answers:
        await put(answers, key("other"), text("o"))
        for n in range(50):
            assert (await put(answers, key("a"), text(f"{n}" * 500))).evicted == 0
        assert await answers.get(key("a")) == text("49" * 500)
        assert await answers.get(key("other")) == text("o")


async def test_an_answer_that_is_too_long_is_not_stored_and_ends_the_lease(
    open_answers: Open,
) -> None:
    async with open_answers(AnswerLimits(answer_bytes=1_000)) as answers:
        await claim(answers, "first")
        done = await answers.put(key("a"), text("x" * 2_000), flight="flight", owner="first")
        assert done == Put(stored=False)
        assert await claim(answers, "second") is True


async def test_answers_of_one_group_are_found_together(answers: AnswerCache) -> None:
    vectors = {"a": b"\x01\x02\xff", "b": b"\x03\x00\x80", "c": b"\x05\x06\x07"}
    for name, group in (("a", "g1"), ("b", "g1"), ("c", "g2")):
        await put(answers, key(name), text(name), Likeness(group, vectors[name]))
    await put(answers, key("d"), text("d"))
    found = await answers.alike("acme", "g1", most=10)
    assert set(found) == {Candidate(key(n).digest, vectors[n]) for n in ("a", "b")}
    assert len(await answers.alike("acme", "g1", most=1)) == 1
    assert await answers.alike("acme", "g", most=10) == []
    assert await answers.alike("globex", "g1", most=10) == []


async def test_what_goes_is_no_candidate_any_more(open_answers: Open) -> None:
    async with open_answers(AnswerLimits(entries=2)) as answers:
        for name in ("a", "b", "c"):
            await put(answers, key(name), text(name), Likeness("g", name.encode()))
        await put(answers, key("c"), text("c"))
        assert await answers.alike("acme", "g", most=10) == [Candidate(key("b").digest, b"b")]
