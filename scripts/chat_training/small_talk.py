"""Turns that need no tool: greetings, who are you, names, and polite refusals."""

import random
from collections.abc import Sequence

from .toolset import ABILITIES
from .vocabulary import (
    ABOUT_YOU,
    CITIES,
    COUNTRIES,
    CUSTOMERS,
    GREETINGS,
    ITEMS,
    OUT_OF_SCOPE,
)

NO_TOOL = "Sorry, I have no tool for that."


def abilities(purposes: Sequence[str]) -> str:
    """One sentence about the tools that are there, in their order; empty without tools."""
    names = [ABILITIES[purpose] for purpose in purposes]
    if not names:
        return ""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"I can help with {listed}."


def refusal(purposes: Sequence[str]) -> str:
    return f"{NO_TOOL} {abilities(purposes)}".strip()


def draw_out_of_scope(rng: random.Random) -> str:
    return rng.choice(OUT_OF_SCOPE).format(
        item=rng.choice(ITEMS),
        country=rng.choice(COUNTRIES),
        city=rng.choice(CITIES)[0],
        name=rng.choice(CUSTOMERS),
    )


def draw_chat(
    rng: random.Random, purposes: Sequence[str], known_name: str | None
) -> tuple[str, str, str | None]:
    """A question, its answer, and the user's name after it."""
    kind = rng.random()
    if kind < 0.25:
        answer = f"I am a support desk assistant. {abilities(purposes)}".strip()
        return rng.choice(ABOUT_YOU), answer, known_name
    if kind < 0.35:
        name = rng.choice(CUSTOMERS)
        lead = rng.choice(("my name is {n}", "I am {n}", "hello, I am {n}", "hi, my name is {n}"))
        return lead.format(n=name), f"Hello, {name}! How can I help you?", name
    if kind < 0.42:
        question = rng.choice(("what is my name", "do you know my name", "who am I"))
        answer = f"Your name is {known_name}." if known_name else "You have not told me your name."
        return question, answer, known_name
    phrases, answer = rng.choice(GREETINGS)
    return rng.choice(phrases), answer, known_name
