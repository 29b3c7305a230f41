"""Questions for the clock."""

import datetime
import random

from .ask import Ask
from .vocabulary import CITIES

_HERE: dict[str, tuple[str, ...]] = {
    "time": ("what time is it", "what is the time", "do you have the time", "what time is it now"),
    "day": ("what day is it", "what day is it today", "which day of the week is it"),
    "date": ("what is the date", "what is the date today", "what is today's date"),
}
_THERE: dict[str, tuple[str, ...]] = {
    "time": (
        "what time is it in {city}",
        "what time is it now in {city}",
        "what is the time in {city}",
        "how late is it in {city}",
        "what is the local time in {city}",
        "what is the current time in {city}",
        "tell me the time in {city}",
        "the time in {city}",
    ),
    "day": ("what day is it in {city}", "which day is it in {city}"),
    "date": ("what is the date in {city}", "what is today's date in {city}"),
}


def _draw_moment(rng: random.Random) -> datetime.datetime:
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    return start + datetime.timedelta(minutes=rng.randrange(6 * 365 * 24 * 60))


def _clock_ask(rng: random.Random, question: str, kind: str, city: str | None, zone: str) -> Ask:
    moment = _draw_moment(rng)
    place = f" in {city}" if city else " UTC"
    answers = {
        "time": f"It is {moment:%H:%M}{place}.",
        "day": f"It is {moment:%A}{place}.",
        "date": f"It is {moment:%A}, {moment:%Y-%m-%d}{place}.",
    }
    shown_zone = zone if rng.random() < 0.7 else rng.choice(("UTC", "CET", "EST", "JST", "+03"))
    return Ask(
        question=question,
        purpose="current_time",
        arguments=(zone,),
        result=f"{moment:%Y-%m-%d %H:%M %A} {shown_zone}",
        answer=answers[kind],
        kind=kind,
    )


def draw_clock(rng: random.Random) -> Ask:
    kind = rng.choice(("time", "time", "time", "day", "date"))
    if rng.random() < 0.2:
        return _clock_ask(rng, rng.choice(_HERE[kind]), kind, None, "UTC")
    city, zone = rng.choice(CITIES)
    return _clock_ask(rng, rng.choice(_THERE[kind]).format(city=city), kind, city, zone)


def draw_clock_elsewhere(rng: random.Random, kind: str) -> Ask:
    """ "And in Tokyo?" after a question of the same kind."""
    city, zone = rng.choice(CITIES)
    phrase = rng.choice(("and in {city}", "what about {city}", "how about {city}", "in {city}"))
    return _clock_ask(rng, phrase.format(city=city), kind, city, zone)
