"""The tools a training conversation may offer: the built-in ones and others like them.

Names, parameters and descriptions vary, so that a model has to read the list it is given.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .template import Tool

DEFAULTS = Path(__file__).resolve().parents[2] / "orchestrator" / "defaults"
ABILITIES = {
    "calculator": "sums",
    "current_time": "times",
    "lookup": "orders",
    "convert_units": "conversions",
    "weather": "the weather",
    "exchange_rate": "exchange rates",
    "phone_book": "phone numbers",
}

# Name, required parameters and description.
_VARIANTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "calculator": (
        ("calc", "expr", "Work out a sum."),
        ("math", "expression", "Compute an arithmetic expression."),
        ("evaluate", "input", "Evaluate a formula with + - * /."),
        ("compute", "formula", "A calculator for numbers."),
    ),
    "current_time": (
        ("get_time", "zone", "Date and time in a time zone."),
        ("clock", "timezone", "Tell the time in an IANA time zone."),
        ("time_now", "tz", "The time now in a zone."),
        ("world_clock", "location", "Read the clock of a time zone."),
    ),
    "lookup": (
        ("find_record", "id", "Find an order or a product."),
        ("get_record", "key", "Read an order or a product record."),
        ("search_desk", "number", "Search the orders and products by number."),
        ("fetch", "code", "Fetch the record of an order or product."),
    ),
    "convert_units": (
        ("convert", "value source target", "Convert a quantity to another unit."),
        ("unit_converter", "number from_unit to_unit", "Change units of measure."),
        ("units", "quantity unit target", "Length, weight, volume and time in other units."),
    ),
    "weather": (
        ("weather", "city", "Tell the weather in a city."),
        ("get_weather", "location", "The weather now in a place."),
        ("forecast", "place", "Weather of a city."),
    ),
    "exchange_rate": (
        ("exchange_rate", "currency", "The value of one US dollar in a currency."),
        ("get_rate", "code", "Exchange rate of a currency."),
        ("fx", "symbol", "Rate of a currency against the dollar."),
    ),
    "phone_book": (
        ("phone_book", "name", "Find the phone number of a person."),
        ("get_phone", "person", "Phone number by name."),
        ("contacts", "query", "Search the contacts for a phone number."),
    ),
}


@dataclass(frozen=True)
class OfferedTool:
    purpose: str
    name: str
    parameters: tuple[str, ...]
    schema: Tool


def _schema(name: str, types: Mapping[str, str], description: str) -> Tool:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {parameter: {"type": kind} for parameter, kind in types.items()},
                "required": list(types),
            },
        },
    }


def default_system_prompt() -> str:
    agent = json.loads((DEFAULTS / "assistant.json").read_text(encoding="utf-8"))
    return str(agent["system_prompt"])


def built_in_tools() -> tuple[OfferedTool, ...]:
    tools: list[Tool] = json.loads((DEFAULTS / "tools.json").read_text(encoding="utf-8"))
    return tuple(
        OfferedTool(
            purpose=tool["function"]["name"],
            name=tool["function"]["name"],
            parameters=tuple(tool["function"]["parameters"]["required"]),
            schema=tool,
        )
        for tool in tools
    )


def _variant(rng: random.Random, purpose: str) -> OfferedTool:
    name, written, description = rng.choice(_VARIANTS[purpose])
    parameters = tuple(written.split())
    kinds = ("number", "string", "string") if purpose == "convert_units" else ("string",)
    types = dict(zip(parameters, kinds, strict=True))
    return OfferedTool(purpose, name, parameters, _schema(name, types, description))


def draw_tools(rng: random.Random, built_in: tuple[OfferedTool, ...]) -> tuple[OfferedTool, ...]:
    """Mostly the built-in list as it is; else a part of it, other tools, or none at all."""
    kind = rng.random()
    if kind < 0.55:
        return built_in
    if kind < 0.65:
        return ()
    if kind < 0.80:
        return tuple(rng.sample(built_in, rng.randint(1, len(built_in))))
    by_purpose = {tool.purpose: tool for tool in built_in}
    purposes = rng.sample(list(ABILITIES), rng.randint(1, 4))
    return tuple(
        by_purpose[purpose]
        if purpose in by_purpose and rng.random() < 0.3
        else _variant(rng, purpose)
        for purpose in purposes
    )
