"""How the models' tokenizer, batches and scores are made."""

import json

import pytest
from tokenizers import Tokenizer

from scripts.chat_training.batches import BatchSource, Sample, Stage, encode
from scripts.chat_training.conversation import draw_conversation
from scripts.chat_training.demonstration import run, script
from scripts.chat_training.evaluation import evaluate, is_right, questions
from scripts.chat_training.held_out import BEYOND_SMALL, Scores, draw_held_out
from scripts.chat_training.template import render
from scripts.chat_training.tokenizer import assistant_mask, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    talks = [draw_conversation(f"test/{index}", exchanges=3) for index in range(200)]
    return train_tokenizer(1, [render(talk.messages, talk.tools) for talk in talks])


@pytest.mark.parametrize(
    "text", ["437 * 12", "Zürich 東京 🙂", "<tool_call>\n{}\n</tool_call>", "\t\r\n"]
)
def test_any_text_survives_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_every_digit_is_a_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("437 * 12").tokens == ["4", "3", "7", "Ġ*", "Ġ", "1", "2"]


def test_the_prompt_of_a_turn_is_a_prefix_of_the_conversation(tokenizer: Tokenizer) -> None:
    for talk in draw_held_out(2, count=20):
        whole = tokenizer.encode(render(talk.messages, talk.tools)).ids
        for question in questions(talk):
            prompt = tokenizer.encode(question.prompt).ids
            assert whole[: len(prompt)] == prompt


def test_the_mask_covers_what_the_assistant_writes(tokenizer: Tokenizer) -> None:
    talk = draw_conversation("test/3", exchanges=4)
    ids = tokenizer.encode(render(talk.messages, talk.tools)).ids

    mask = assistant_mask(tokenizer, ids)

    written = [token for token, wanted in zip(ids, mask, strict=True) if wanted]
    expected = "".join(f"{question.expected}<|im_end|>" for question in questions(talk))
    assert tokenizer.decode(written, skip_special_tokens=False) == expected


@pytest.mark.parametrize("stage", list(Stage))
def test_batches_keep_to_their_size_and_repeat_with_the_seed(
    tokenizer: Tokenizer, stage: Stage
) -> None:
    def draw(seed: str) -> list[list[Sample]]:
        source = BatchSource(tokenizer, seed=seed, tokens=3000, longest=1200)
        source.enter(stage)
        return [source.next_batch() for _ in range(4)]

    batches = draw("1")

    assert all(max(len(s.ids) for s in batch) * len(batch) <= 3000 for batch in batches)
    assert batches == draw("1")
    assert batches != draw("2")


def test_encoding_marks_at_least_one_token_per_assistant_turn(tokenizer: Tokenizer) -> None:
    talk = draw_conversation("test/9", exchanges=3)

    assert sum(encode(tokenizer, talk).mask) > len(questions(talk))


def test_a_model_that_writes_what_is_expected_scores_full_marks() -> None:
    held_out = draw_held_out(1, count=10)
    expected = {q.prompt: q.expected for talk in held_out for q in questions(talk)}

    scores, misses = evaluate(held_out, lambda prompts: [expected[prompt] for prompt in prompts])

    assert not misses
    assert "0.0%" not in scores.table().replace("100.0%", "")


def test_a_silent_model_scores_nothing() -> None:
    held_out = draw_held_out(1, count=10)

    scores, misses = evaluate(held_out, lambda prompts: [""] * len(prompts))

    assert len(misses) == sum(len(questions(talk)) for talk in held_out)
    assert sum(tally.right for tally in scores.calls.values()) == 0


def test_a_call_is_right_by_its_arguments_whatever_the_spaces() -> None:
    [question] = [q for q in questions(draw_conversation("test/1", exchanges=1)) if q.is_call] or [
        questions(draw_conversation("test/2", exchanges=1))[0]
    ]
    spaced = question.expected.replace('"arguments": ', '"arguments":   ')

    assert is_right(question, spaced)
    assert not is_right(question, spaced.replace('": "', '": "x'))


def test_the_demonstration_passes_with_a_model_that_knows_it() -> None:
    steps = script()
    turns = iter(
        turn
        for _, results, wanted in steps
        for turn in ([_calls(list(results))] if results else []) + [f"It is {wanted}."]
    )

    lines = list(run(steps, lambda _: [next(turns)]))

    assert all(right for _, right in lines)


def _calls(arguments: list[str]) -> str:
    bodies = [json.dumps({"name": "any", "arguments": {"value": value}}) for value in arguments]
    return "\n".join(f"<tool_call>\n{body}\n</tool_call>" for body in bodies)


def test_turns_of_an_unlearned_category_are_read_and_not_learned(tokenizer: Tokenizer) -> None:
    talk = draw_conversation("test/6", exchanges=6)
    assert {exchange.category for exchange in talk.exchanges} & BEYOND_SMALL

    sample = encode(tokenizer, talk, unlearned=BEYOND_SMALL)

    learned = [token for token, wanted in zip(sample.ids, sample.mask, strict=True) if wanted]
    assert sample.ids == encode(tokenizer, talk).ids
    assert tokenizer.decode(learned, skip_special_tokens=False) == "".join(
        f"{question.expected}<|im_end|>"
        for question in questions(talk)
        if question.category not in BEYOND_SMALL
    )


def test_the_table_sums_the_simple_and_the_hard_categories() -> None:
    scores = Scores()
    for category, right in (("time", True), ("lookup", False), ("chain", True), ("retry", True)):
        scores.add(category, is_call=True, right=right)

    totals = {name: str(calls) for name, calls, _ in scores.totals()}

    assert totals == {"simple": "50.0% of 2", "hard": "100.0% of 2", "all": "75.0% of 4"}
