"""Questions for tools that are not built in."""

import json
import random

from .ask import Ask
from .vocabulary import CITIES, CURRENCIES, CUSTOMERS, SKIES


def _draw_weather(rng: random.Random) -> Ask:
    city = rng.choice(CITIES)[0]
    sky, degrees = rng.choice(SKIES), rng.randint(-15, 38)
    question = rng.choice(
        (
            "what is the weather in {c}",
            "how is the weather in {c}",
            "what is the weather like in {c}",
        )
    )
    return Ask(
        question=question.format(c=city),
        purpose="weather",
        arguments=(city,),
        result=json.dumps({"sky": sky, "degrees": degrees}),
        answer=f"It is {sky} and {degrees} degrees in {city}.",
    )


def _draw_rate(rng: random.Random) -> Ask:
    currency = rng.choice(CURRENCIES)
    rate = f"{rng.uniform(0.3, 150):.{rng.randint(1, 4)}f}"
    question = rng.choice(
        (
            "what is the exchange rate of {c}",
            "how many {c} is one dollar",
            "what is a dollar in {c}",
        )
    )
    return Ask(
        question=question.format(c=currency),
        purpose="exchange_rate",
        arguments=(currency,),
        result=rate,
        answer=f"One dollar is {rate} {currency}.",
    )


def _draw_phone(rng: random.Random) -> Ask:
    name = rng.choice(CUSTOMERS)
    phone = f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}"
    question = rng.choice(
        ("what is the phone number of {c}", "what is the number of {c}", "how do I reach {c}")
    )
    return Ask(
        question=question.format(c=name),
        purpose="phone_book",
        arguments=(name,),
        result=json.dumps({"name": name, "phone": phone}),
        answer=f"The phone number of {name} is {phone}.",
    )


DRAWS = {"weather": _draw_weather, "exchange_rate": _draw_rate, "phone_book": _draw_phone}
