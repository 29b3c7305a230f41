"""Questions about orders and products."""

import datetime
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from .arithmetic import draw_number
from .ask import Ask, Record
from .vocabulary import CARRIERS, CUSTOMERS, ITEMS, LOOKS

_QUESTIONS: dict[str, tuple[str, ...]] = {
    "status": (
        "where is my order {key}",
        "where is order {key}",
        "what is the status of order {key}",
        "what about my order {key}",
        "check order {key}",
        "look up order {key}",
        "track my order {key}",
        "what happened to order {key}",
        "what is the status of {key}",
        "where is {key}",
        "track {key}",
        "order {key}",
        "status of {key}",
        "the status of my order {key}",
    ),
    "arrival": (
        "when does my order {key} arrive",
        "when will order {key} arrive",
        "when is {key} delivered",
        "when do I get my order {key}",
        "when will {key} be here",
        "when will {key} arrive",
        "when does {key} arrive",
    ),
    "carrier": (
        "who delivers order {key}",
        "which carrier has order {key}",
        "who is the carrier of {key}",
        "who ships my order {key}",
    ),
    "item": (
        "what is in order {key}",
        "what did I order in {key}",
        "which item is in order {key}",
        "what is in {key}",
    ),
    "price": (
        "how much is {key}",
        "what does {key} cost",
        "what is the price of {key}",
        "how much does product {key} cost",
        "what is the price of product {key}",
        "the price of {key}",
        "price of {key}",
    ),
    "stock": (
        "is {key} in stock",
        "how many {key} are in stock",
        "do you have {key}",
        "how many of {key} do you have",
        "is product {key} available",
    ),
    "product": (
        "what is {key}",
        "what is product {key}",
        "tell me about {key}",
        "tell me about product {key}",
        "look up product {key}",
        "describe {key}",
    ),
}
_FOLLOW_UPS: dict[str, tuple[str, ...]] = {
    "status": ("where is it", "and its status", "what is its status"),
    "arrival": ("when does it arrive", "and when does it arrive", "when will it be here"),
    "carrier": ("who delivers it", "and who delivers it", "which carrier has it"),
    "item": ("what is in it", "and what is in it", "which item is it"),
    "price": ("and its price", "how much is it", "what does it cost", "and what does it cost"),
    "stock": ("is it in stock", "and is it in stock", "how many are in stock", "and its stock"),
    "product": ("what is it", "tell me about it", "and what is it"),
}
_ORDER_KINDS = ("status", "status", "arrival", "carrier", "item")
_PRODUCT_KINDS = ("price", "price", "stock", "product")
_OTHER = ("and {key}", "what about {key}", "and what about {key}", "how about {key}")


def _draw_item(rng: random.Random) -> str:
    item = rng.choice(ITEMS)
    return item if rng.random() < 0.5 else f"{rng.choice(LOOKS)} {item}"


def _draw_order_number(rng: random.Random) -> int:
    if rng.random() < 0.1:
        return rng.choice((1111 * rng.randint(1, 9), 1000 * rng.randint(1, 9)))
    return rng.randint(1000, 9999)


def _draw_order(rng: random.Random) -> Record:
    status = rng.choice(("shipped", "shipped", "delivered", "processing", "cancelled"))
    fields: dict[str, object] = {"item": _draw_item(rng), "status": status}
    if status in {"shipped", "delivered"}:
        fields["carrier"] = rng.choice(CARRIERS)
    if status != "cancelled":
        day = datetime.date(2025, 1, 1) + datetime.timedelta(days=rng.randrange(1000))
        fields["delivery_date"] = day.isoformat()
    if rng.random() < 0.1:
        fields["customer"] = rng.choice(CUSTOMERS)
    return Record(f"A{_draw_order_number(rng)}", fields)


def _draw_product(rng: random.Random) -> Record:
    price = draw_number(rng, most_digits=3)
    if float(price) == 0:
        price = "5"
    value: object = float(price) if "." in price else int(price)
    if rng.random() < 0.15:
        value = round(rng.uniform(1, 400), 2)
    stock = rng.choice((0, rng.randint(1, 9), rng.randint(10, 99), rng.randint(100, 999)))
    fields: dict[str, object] = {"name": _draw_item(rng), "price_usd": value, "stock": stock}
    return Record(f"P{rng.randint(1, 99):02d}", fields)


def _say_status(key: str, fields: Mapping[str, object]) -> str:
    date = fields.get("delivery_date")
    if fields["status"] == "shipped":
        return f"Order {key} is shipped with {fields['carrier']} and arrives on {date}."
    if fields["status"] == "delivered":
        return f"Order {key} was delivered by {fields['carrier']} on {date}."
    if fields["status"] == "processing":
        return f"Order {key} is processing and arrives on {date}."
    return f"Order {key} is cancelled."


def _say_arrival(key: str, fields: Mapping[str, object]) -> str:
    if fields["status"] == "cancelled":
        return f"Order {key} is cancelled."
    verb = "arrived" if fields["status"] == "delivered" else "arrives"
    return f"Order {key} {verb} on {fields['delivery_date']}."


def _say_carrier(key: str, fields: Mapping[str, object]) -> str:
    if "carrier" not in fields:
        return f"Order {key} has no carrier."
    return f"The carrier of order {key} is {fields['carrier']}."


def _say_stock(key: str, fields: Mapping[str, object]) -> str:
    return (
        f"{key} is out of stock."
        if not fields["stock"]
        else f"{key} has {fields['stock']} in stock."
    )


_ANSWERS: dict[str, Callable[[str, Mapping[str, object]], str]] = {
    "status": _say_status,
    "arrival": _say_arrival,
    "carrier": _say_carrier,
    "item": lambda key, fields: f"Order {key} contains: {fields['item']}.",
    "price": lambda key, fields: f"{key} costs {fields['price_usd']} USD.",
    "stock": _say_stock,
    "product": lambda key, fields: f"{key}: {fields['name']}, {fields['price_usd']} USD.",
}


def answer(kind: str, record: Record) -> str:
    return _ANSWERS[kind](record.key, record.fields)


def _result(rng: random.Random, record: Record) -> str:
    fields = dict(record.fields)
    if rng.random() < 0.15:
        fields = {"key": record.key, **fields}
    if rng.random() < 0.15:
        names = list(fields)
        rng.shuffle(names)
        fields = {name: fields[name] for name in names}
    separators = (",", ":") if rng.random() < 0.15 else None
    return json.dumps(fields, separators=separators)


def ask_for(rng: random.Random, question: str, kind: str, record: Record) -> Ask:
    shown = record.key.lower() if rng.random() < 0.05 else record.key
    return Ask(
        question=question.format(key=shown),
        purpose="lookup",
        arguments=(record.key,),
        result=_result(rng, record),
        answer=answer(kind, record),
        kind=kind,
        number=str(record.fields["price_usd"]) if kind == "price" else None,
        record=record,
        commands=question.split(" ", maxsplit=1)[0]
        in {"check", "look", "track", "tell", "describe"},
    )


def draw_lookup(rng: random.Random) -> Ask:
    if rng.random() < 0.55:
        record, kind = _draw_order(rng), rng.choice(_ORDER_KINDS)
    else:
        record, kind = _draw_product(rng), rng.choice(_PRODUCT_KINDS)
    return ask_for(rng, rng.choice(_QUESTIONS[kind]), kind, record)


def draw_other_record(rng: random.Random, kind: str, record: Record) -> Ask:
    """ "And A2044?" after a question about another record of the same sort."""
    other = _draw_order(rng) if record.is_order else _draw_product(rng)
    return ask_for(rng, rng.choice(_OTHER), kind, other)


def draw_known_fact(rng: random.Random, record: Record) -> tuple[str, str, str]:
    """Question, answer and kind of a fact that the record read before already holds."""
    kind = rng.choice(_ORDER_KINDS if record.is_order else _PRODUCT_KINDS)
    return rng.choice(_FOLLOW_UPS[kind]), answer(kind, record), kind


def draw_product_price(rng: random.Random) -> Ask:
    record = _draw_product(rng)
    return ask_for(rng, "", "price", record)


def _misspell(rng: random.Random, key: str) -> str:
    letter, digits = key[0], key[1:]
    if letter == "P":
        return rng.choice((f"P{int(digits)}" if digits[0] == "0" else f"P-{digits}", f"#{key}"))
    return rng.choice((digits, digits, f"{letter}-{digits}", f"#{key}", f"#{digits}"))


def draw_misspelt(rng: random.Random) -> tuple[Ask, Ask]:
    """A question with a key written wrongly: the call with that key, and the one after it."""
    kinds = _ORDER_KINDS if rng.random() < 0.7 else _PRODUCT_KINDS
    record = _draw_order(rng) if kinds is _ORDER_KINDS else _draw_product(rng)
    kind = rng.choice(kinds)
    wrong = _misspell(rng, record.key)
    phrases = [text for text in _QUESTIONS[kind] if kinds is _PRODUCT_KINDS or "order" in text]
    meant = ask_for(rng, rng.choice(phrases or _QUESTIONS[kind]), kind, record)
    meant = replace(
        meant, question=re.sub(re.escape(record.key), wrong, meant.question, flags=re.IGNORECASE)
    )
    error = f"there is no record {wrong!r}; did you mean {record.key!r}?"
    result = json.dumps({"error": error})
    return replace(meant, arguments=(wrong,), result=result), meant
