"""Rounds of the same prompts: the engine called directly, and served in several ways."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.llm_bench.client import Round
from scripts.llm_bench.direct import NEW_TOKENS, Direct

Way = Callable[[list[str]], Round]
"""Answers all prompts at once."""


def prompts(number: int) -> list[str]:
    return [
        f"<|im_start|>user\nWhat is {i} * {i % 7 + 3}?<|im_end|>\n<|im_start|>assistant\n"
        for i in range(number)
    ]


MOST_ALONE = 16
"""Answers of a round that are asked for once more, alone."""


def count_wrong(
    prompts: Sequence[str],
    answers: Sequence[str],
    expected: Sequence[str],
    alone: Callable[[str], str],
) -> int:
    """Answers that the engine gives neither in the batch nor to the prompt by itself.

    A step of one token takes other kernels in the engine than a step of several, and in bfloat16
    the two may disagree about a near tie. A request that meets no other runs in such steps.
    """
    triples = zip(prompts, answers, expected, strict=True)
    other = [(prompt, answer) for prompt, answer, text in triples if answer != text]
    wrong = sum(answer != alone(prompt) for prompt, answer in other[:MOST_ALONE])
    return wrong + len(other[MOST_ALONE:])


@dataclass
class Series:
    """One way of being served, over all rounds."""

    name: str
    tokens_per_s: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """To the direct call of the same round."""
    ttft_s: list[float] = field(default_factory=list)
    messages: float = 0.0
    wrong: int = 0

    def note(self, found: Round, direct_tokens_per_s: float, wrong: int) -> None:
        errors = [answer.error for answer in found.answers if answer.error]
        if errors:
            raise RuntimeError(f"{self.name}: {len(errors)} requests failed: {errors[0]}")
        tokens_per_s = len(found.answers) * NEW_TOKENS / found.seconds
        self.tokens_per_s.append(tokens_per_s)
        self.ratios.append(tokens_per_s / direct_tokens_per_s)
        self.ttft_s.append(statistics.median(answer.first_s for answer in found.answers))
        self.messages = statistics.mean(answer.messages for answer in found.answers)
        self.wrong += wrong

    def summary(self) -> dict[str, float | int | str]:
        return {
            "way": self.name,
            "tokens_per_s": round(statistics.median(self.tokens_per_s)),
            "ratio": round(statistics.median(self.ratios), 3),
            "ttft_p50_ms": round(statistics.median(self.ttft_s) * 1e3, 1),
            "messages_per_request": round(self.messages, 1),
            "wrong_answers": self.wrong,
        }


def run_rounds(
    direct: Direct, *, at_once: int, rounds: int, ways: dict[str, Way]
) -> tuple[list[float], list[Series]]:
    """The first round warms up and is not counted."""
    texts = prompts(at_once)
    series = {name: Series(name) for name in ways}
    directly: list[float] = []
    for number in range(rounds + 1):
        seconds, expected = direct.run(texts)
        found = {name: way(texts) for name, way in ways.items()}
        if number == 0:
            continue
        directly.append(at_once * NEW_TOKENS / seconds)
        for name, round_ in found.items():
            answers = [direct.plain(answer.text) for answer in round_.answers]
            wrong = count_wrong(texts, answers, expected, lambda prompt: direct.run([prompt])[1][0])
            series[name].note(round_, directly[-1], wrong)
    return directly, list(series.values())
