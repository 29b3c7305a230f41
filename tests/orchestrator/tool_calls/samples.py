"""Answers in every format, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

ADD = '{"a": 1, "b": 2}'
NOTE = '{"text": "a } ] \\" ; </tool_call> ``` [TOOL_CALLS] é\\u00e9 ☃", "deep": [{"x": []}]}'
"""Everything that ends something, inside a string."""


@dataclass(frozen=True, slots=True)
class Sample:
    tool_format: str
    answer: str
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    malformed: str = ""
    """A part of what is said about it."""


TWO = (("add", ADD), ("note", NOTE))


def hermes(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def llama(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "parameters": {arguments}}}'


def plain(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {arguments}}}'


def mistral(name: str, arguments: str) -> str:
    return f"[TOOL_CALLS]{name}[ARGS]{arguments}"


H1, H2 = (hermes(*each) for each in TWO)
L1, L2 = (llama(*each) for each in TWO)
P1, P2 = (plain(*each) for each in TWO)
M1, M2 = (mistral(*each) for each in TWO)

HERMES = [
    ("", "", ()),
    (" \n Hello \n", " \n Hello \n", ()),
    (f"Let me see.\n{H1}\n", "Let me see.", TWO[:1]),
    (f"One\n{H1}\n{H2}two ", "One\n\ntwo ", TWO),
    (f"<<tool_call {H2}{H1}</tool_call>", "<<tool_call </tool_call>", TWO[::-1]),
    ('<tool_call>{"name": "ping"}</tool_call>', "", (("ping", "{}"),)),
    (f"<tool_call>{L1}</tool_call>", "", TWO[:1]),
    (f"Grüße 👋 {H1}\n\nDone.", "Grüße 👋 \n\nDone.", TWO[:1]),
]
LLAMA = [
    ("", "", ()),
    ("It is {not} a call; 2 < 3.", "It is {not} a call; 2 < 3.", ()),
    (L1, "", TWO[:1]),
    (f" \n<|python_tag|>{L2}\n", "", TWO[1:]),
    (f"{L1}; {L2}", "", TWO),
    (f"{L1};\n{L2};\nDone.", "Done.", TWO),
    (f"{L1}\n{L2}", "", TWO),
    (f"<|python_tag|>{L1}<|python_tag|>{L2}", "", TWO),
    (f"[{L1}, {P2}] \n ok", "ok", TWO),
    (f"So: <|python_tag|> {P1}", "So:", TWO[:1]),
    (f"I call it.\n{L1}\nThat was it.", "I call it.\n\nThat was it.", TWO[:1]),
    (f'{{"type": "function", "id": "x", {L1[1:]}', "", TWO[:1]),
    ('{"answer": 42, "name": "x", "parameters": {}}',) * 2 + ((),),
    ('{"name": "Ann", "id": 7}\n',) * 2 + ((),),
    ('{"name": "Ann", "parameters": {}, "age": 5} and',) * 2 + ((),),
    ('{"type": "object", "name": "x", "parameters": {}}',) * 2 + ((),),
    ('[1, {"name": "x", "parameters": {}}]',) * 2 + ((),),
    ('{"name": "cut off',) * 2 + ((),),
    ("<|python_tag",) * 2 + ((),),
    ("[ \n",) * 2 + ((),),
    ("{}\n[]\n{{x}}",) * 2 + ((),),
]
MISTRAL = [
    ("", "", ()),
    ("[x] and [TOOL_CALL]", "[x] and [TOOL_CALL]", ()),
    (f"[TOOL_CALLS] [{P1}, {P2}]", "", TWO),
    (f'[TOOL_CALLS] [{P1[:-1]}, "id": "abc123DEF"}}]\n', "", TWO[:1]),
    (f"Sure.[TOOL_CALLS][{P1}\n,\n{P2}\n]Done", "Sure.Done", TWO),
    (f"[{P1}, {P2}]", "", TWO),
    (f"{M1}{M2}", "", TWO),
    (f"Let me see. {M2}\n{M1} \n", "Let me see.", TWO[::-1]),
    (f"[TOOL_CALLS]add{ADD}[TOOL_CALLS] note {NOTE}", "", TWO),
    (f"[TOOL_CALLS]add[CALL_ID]bbc5b7ede[ARGS] {ADD}Done.", "Done.", TWO[:1]),
    ("[TOOL_CALLS] []", "", ()),
    ("[TOOL_CAL",) * 2 + ((),),
    (f"{P1}\n[link](url)",) * 2 + ((),),
    ('[{"answer": 1}]',) * 2 + ((),),
]
JSON = [
    ("", "", ()),
    (P1, "", TWO[:1]),
    (f"[{P1}, {L2}]\n", "", TWO),
    (f"{P1}\n{P2}", "", TWO),
    (f"{P1}, {P2}", "", TWO),
    (f"```json\n{P1}\n```", "", TWO[:1]),
    (f"```\n[\n{P1},\n{P2}\n]\n```\nDone.", "Done.", TWO),
    (f"I call:\n```JSON \n{P1}\n{P2}\n```\nDone.", "I call:\n\nDone.", TWO),
    (f"```json\n{P2}", "", TWO[1:]),
    (f"```json\n{P2}\n``", "", TWO[1:]),
    (f"```json\n{P2}\nthen ``` {P1}", f"then ``` {P1}", TWO[1:]),
    ('```json\n{"answer": 1}\n``` ok',) * 2 + ((),),
    (f"```python\n{P1}\n```\n{P2}", f"```python\n{P1}\n```", TWO[1:]),
    (f"`x` ``` {P1} ``` y",) * 2 + ((),),
    ('{"name": "x"}',) * 2 + ((),),
    ("[1, 2]\n{3}",) * 2 + ((),),
    ("```",) * 2 + ((),),
    ("```js",) * 2 + ((),),
    ("Text with `` and {",) * 2 + ((),),
    ("null",) * 2 + ((),),
]

HERMES_MALFORMED = [
    ("<tool_call>{'name': 'x'}</tool_call>", "not a JSON object"),
    (f"{H1} then {H2[:-3]}", "</tool_call> is missing"),
    ('<tool_call>{"name": "x</tool_call>', "inside a string"),
    ("<tool_call>[]</tool_call>", "not a JSON object"),
]
LLAMA_MALFORMED = [
    ("<|python_tag|>print(1)", "must be a JSON object"),
    ('<|python_tag|>{"name": 7}', '"name"'),
    ("<|python_tag|>", "ended inside"),
    ('{"name": "x", "parameters": {"a": }}', "not a JSON object"),
    ('{"name": "x", "parameters": {"a": 1}', "ended inside"),
    ('{"name": "x", "parameters": {"a": 1}}}', "a } too many"),
    ('{"name": "x", "parameters": {}, "arguments": {}}', "both"),
    ("{'name': 'x', 'parameters': {'a': '}'}} ok", "not a JSON object"),
    ('{"name": "x", "parameters": "{}"}', '"parameters"'),
    (f"[{L1}, 5]", "must be a JSON object"),
    (f"[{L1} {L2}]", "neither , nor ]"),
    (f"[{L1}", "ended inside"),
    (f"[{L1}, {{}}]", '"name"'),
]
MISTRAL_MALFORMED = [
    ("[TOOL_CALLS]", "ended inside"),
    ("[TOOL_CALLS] [1]", "must be a JSON object"),
    ("[TOOL_CALLS]two words{}", "not followed"),
    ("[TOOL_CALLS]x[ARGS]null", "not followed"),
    ('[TOOL_CALLS]x[ARGS]{"a": tru}', "not a JSON object"),
    ("[TOOL_CALLS]" + "x" * 65, "ended inside"),
    ("[TOOL_CALLS]" + "x" * 65 + "{}", '"name"'),
    ("[TOOL_CALLS]{}", '"name"'),
    ("[TOOL_CALLS]x[ARGS", "ended inside"),
    ("[TOOL_CALLS]x[ARG]{}", "not followed"),
    ("[TOOL_CALLS]x[CALL_ID]12", "ended inside"),
]
JSON_MALFORMED = [
    ('```json\n{"name": "x", "arguments": {a: 1}}\n```', "not a JSON object"),
    ('{"arguments": {}, "name": "two words"}', '"name"'),
    (f"```json\n[{P1}\n```", "neither , nor ]"),
    ('{"name": "x", "arguments": {"a": NaN}}', "NaN"),
]

SAMPLES = [
    Sample(tool_format, answer, text, calls)
    for tool_format, samples in (
        ("hermes", HERMES),
        ("llama3_json", LLAMA),
        ("mistral", MISTRAL),
        ("json", JSON),
    )
    for answer, text, calls in samples
] + [
    Sample(tool_format, answer, malformed=why)
    for tool_format, samples in (
        ("hermes", HERMES_MALFORMED),
        ("llama3_json", LLAMA_MALFORMED),
        ("mistral", MISTRAL_MALFORMED),
        ("json", JSON_MALFORMED),
    )
    for answer, why in samples
]
