"""Support-desk conversations from a seed: the same seed gives the same conversation."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .arithmetic import draw_sum, draw_sum_on, draw_total
from .ask import Ask, Record
from .clock import draw_clock, draw_clock_elsewhere
from .conversions import draw_conversion, draw_conversion_like
from .failures import draw_error
from .other_tools import DRAWS
from .records import (
    draw_known_fact,
    draw_lookup,
    draw_misspelt,
    draw_other_record,
    draw_product_price,
)
from .small_talk import draw_chat, draw_out_of_scope, refusal
from .template import Message, Tool, tool_call
from .toolset import OfferedTool, built_in_tools, default_system_prompt, draw_tools
from .vocabulary import SYSTEM_PROMPTS

PREFIXES = ("please ", "hi, ", "hello, ", "hey, ", "can you tell me, ", "quick question: ", "so, ")
SUFFIXES = (" please", " now", ", thanks")
_SINGLE = {
    "calculator": draw_sum,
    "current_time": draw_clock,
    "lookup": draw_lookup,
    "convert_units": draw_conversion,
} | DRAWS
_CATEGORY = {
    "calculator": "arithmetic",
    "current_time": "time",
    "lookup": "lookup",
    "convert_units": "conversion",
}


@dataclass(frozen=True)
class Exchange:
    """One question of the user and everything up to the answer."""

    category: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Conversation:
    system: str | None
    tools: tuple[Tool, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def messages(self) -> list[Message]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        return head + [message for exchange in self.exchanges for message in exchange.messages]


def _dress(rng: random.Random, question: str, *, command: bool = False) -> str:
    """Give a bare question its capital, its end mark and, at times, a greeting."""
    if rng.random() < 0.12:
        question = question.replace("what is ", "what's ").replace("where is ", "where's ")
    looks = rng.random()
    if looks < 0.12:
        question = rng.choice(PREFIXES) + question
    elif looks < 0.16:
        question += rng.choice(SUFFIXES)
    looks = rng.random()
    mark = rng.choice((".", "")) if command else "?"
    if looks < 0.10:
        return question.lower() if rng.random() < 0.5 else question
    if looks < 0.18:
        mark = ""
    return question[0].upper() + question[1:] + mark


@dataclass
class _Scene:
    """What one conversation has said so far."""

    rng: random.Random
    tools: tuple[OfferedTool, ...]
    asked: Ask | None = None
    number: str | None = None
    record: Record | None = None
    name: str | None = None
    calls: int = 0
    by_purpose: dict[str, OfferedTool] = field(init=False)

    def __post_init__(self) -> None:
        self.by_purpose = {tool.purpose: tool for tool in self.tools}

    @property
    def purposes(self) -> list[str]:
        return list(self.by_purpose)

    def single(self) -> Ask:
        purposes = self.purposes
        if not purposes or self.rng.random() < 0.06:
            purposes = list(_SINGLE)
        return _SINGLE[self.rng.choice(purposes)](self.rng)

    def remember(self, ask: Ask) -> None:
        self.asked, self.number = ask, ask.number
        self.record = ask.record

    def spoil(self, ask: Ask) -> Ask:
        """The same question, whose tool fails; the answer leaves its advice after `;` out."""
        error = draw_error(self.rng, ask)
        result = json.dumps({"error": error}) if self.rng.random() < 0.85 else f"Error: {error}"
        return Ask(
            ask.question,
            ask.purpose,
            ask.arguments,
            result,
            f"Sorry, that did not work: {error.split(';')[0]}.",
            commands=ask.commands,
        )

    def call(self, asks: list[Ask]) -> list[Message]:
        calls: list[Message] = []
        for ask in asks:
            tool = self.by_purpose[ask.purpose]
            self.calls += 1
            arguments = dict(zip(tool.parameters, ask.arguments, strict=True))
            calls.append(tool_call(tool.name, arguments, call_id=f"call_{self.calls}"))
        turn: Message = {"role": "assistant", "content": "", "tool_calls": calls}
        results: list[Message] = [
            {"role": "tool", "tool_call_id": call["id"], "content": ask.result}
            for call, ask in zip(calls, asks, strict=True)
        ]
        return [turn, *results]

    def talk(self, category: str, question: str, answer: str) -> Exchange:
        user = {"role": "user", "content": question}
        return Exchange(category, (user, {"role": "assistant", "content": answer}))

    def use(self, category: str, asks: list[Ask], question: str | None = None) -> Exchange:
        if question is None:
            question = _dress(self.rng, asks[0].question, command=asks[0].commands)
        if any(ask.purpose not in self.by_purpose for ask in asks):
            return self.talk("no_tool", question, refusal(self.purposes))
        self.remember(asks[-1])
        answer = " ".join(ask.answer for ask in asks)
        user = {"role": "user", "content": question}
        done = {"role": "assistant", "content": answer}
        return Exchange(category, (user, *self.call(asks), done))


def _single(scene: _Scene) -> Exchange:
    ask = scene.single()
    return scene.use(_CATEGORY.get(ask.purpose, "other_tools"), [ask])


def _chat(scene: _Scene) -> Exchange:
    question, answer, scene.name = draw_chat(scene.rng, scene.purposes, scene.name)
    command = scene.rng.random() < 0.7
    return scene.talk("chat", _dress(scene.rng, question, command=command), answer)


def _out_of_scope(scene: _Scene) -> Exchange:
    question = draw_out_of_scope(scene.rng)
    return scene.talk("no_tool", _dress(scene.rng, question), refusal(scene.purposes))


def _two_tools(scene: _Scene) -> Exchange:
    first, second = scene.single(), scene.single()
    joint = scene.rng.choice((" and ", ", and ", " and also ", "? Also, ", "; "))
    question = _dress(scene.rng, first.question + joint + second.question)
    return scene.use("two_tools", [first, second], question)


def _tool_error(scene: _Scene) -> Exchange:
    return scene.use("tool_error", [scene.spoil(scene.single())])


def _reference(scene: _Scene) -> Exchange:
    """A question that only the turns before it make clear."""
    rng, asked = scene.rng, scene.asked
    if asked is None:
        return _single(scene)
    if scene.record is not None:
        if scene.record.is_order or rng.random() < 0.6:
            return _about_record(scene, scene.record, asked)
        total = draw_total(rng, key=scene.record.key, price=str(scene.record.fields["price_usd"]))
        return scene.use("reference", [total])
    if asked.purpose == "current_time" and asked.kind:
        return scene.use("reference", [draw_clock_elsewhere(rng, asked.kind)])
    if asked.purpose == "convert_units":
        return scene.use("reference", [draw_conversion_like(rng, asked)])
    if scene.number is not None and len(scene.number) <= 12:
        return scene.use("reference", [draw_sum_on(rng, scene.number)])
    return _single(scene)


def _about_record(scene: _Scene, record: Record, asked: Ask) -> Exchange:
    if scene.rng.random() < 0.4 and asked.kind:
        return scene.use("reference", [draw_other_record(scene.rng, asked.kind, record)])
    question, answer, _ = draw_known_fact(scene.rng, record)
    return scene.talk("reference", _dress(scene.rng, question), answer)


def _chain(scene: _Scene) -> Exchange:
    """The price of one piece from one tool, the price of many from another."""
    rng = scene.rng
    price = draw_product_price(rng)
    assert price.record is not None
    key = price.record.key
    total = draw_total(rng, key=key, price=str(price.record.fields["price_usd"]))
    count = total.argument.rsplit(" ", 1)[1]
    question = rng.choice(
        ("what do {n} of {k} cost", "how much are {n} of {k}", "what is the price of {n} {k}")
    ).format(n=count, k=key)
    dressed = _dress(rng, question)
    if not {"lookup", "calculator"} <= set(scene.by_purpose):
        return scene.talk("no_tool", dressed, refusal(scene.purposes))
    user = {"role": "user", "content": dressed}
    steps = scene.call([price]) + scene.call([total])
    scene.remember(price)
    return Exchange("chain", (user, *steps, {"role": "assistant", "content": total.answer}))


def _retry(scene: _Scene) -> Exchange:
    """A key that the tool does not know, and asked again with the one it names."""
    misspelt, meant = draw_misspelt(scene.rng)
    dressed = _dress(scene.rng, meant.question, command=meant.commands)
    if "lookup" not in scene.by_purpose:
        return scene.talk("no_tool", dressed, refusal(scene.purposes))
    user = {"role": "user", "content": dressed}
    steps = scene.call([misspelt]) + scene.call([meant])
    scene.remember(meant)
    return Exchange("retry", (user, *steps, {"role": "assistant", "content": meant.answer}))


_MIX: tuple[tuple[Callable[[_Scene], Exchange], float], ...] = (
    (_single, 0.34),
    (_reference, 0.20),
    (_chat, 0.09),
    (_two_tools, 0.17),
    (_out_of_scope, 0.06),
    (_tool_error, 0.05),
    (_retry, 0.04),
    (_chain, 0.05),
)


def draw_conversation(
    seed: str, *, exchanges: int, tools: tuple[OfferedTool, ...] | None = None
) -> Conversation:
    """`seed` names the split as well, so that held-out conversations are never trained on."""
    rng = random.Random(seed)  # noqa: S311 (data, not secrets)
    if tools is None:
        tools = draw_tools(rng, built_in_tools())
    drawn = rng.random()
    system: str | None = default_system_prompt()
    if drawn > 0.6:
        system = rng.choice(SYSTEM_PROMPTS) if drawn < 0.95 else None
    scene = _Scene(rng, tools)
    makers, weights = zip(*_MIX, strict=True)
    done = [rng.choices(makers, weights)[0](scene) for _ in range(exchanges)]
    return Conversation(system, tuple(tool.schema for tool in tools), tuple(done))
