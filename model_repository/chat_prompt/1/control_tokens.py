"""Text of a conversation, kept from being read as a model's control tokens.

The LLM's backend gets the prompt as text, and its tokenizer can't tell a `<|im_end|>` that the
template wrote from one that a user or a tool did. So the latter are broken up before the
template sees them: a space goes in after their first character.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer

_REPLACED = "\ufffd"
_BREAKS = (" ", "\u200b", _REPLACED)
_FENCES = ("\u200b", "\u2060", _REPLACED)  # not white space, which templates trim

# What a template writes around its parts, also where the tokenizer has no token for it.
_MARKER = re.compile(r"<<[^<>\s]{1,64}>>|<[^<>\s'\"]{1,64}>|\[/?[A-Z][A-Z_]+\]")
_TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder")


class ControlTokens:
    """The control tokens of one model.

    A text without any of them is left as it is. As the break occurs in no token, none can
    come to be by breaking others.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.texts = frozenset(tokens) - {""}
        self._break = self._foreign(_BREAKS)
        self._fence = self._foreign(_FENCES)
        # Zero-width, so that a token is found also where it overlaps with another one.
        pattern = f"(?={_any_of(self.texts)})." if self.texts else r"(?!)"
        self._starts = re.compile(pattern, re.DOTALL)
        self._heads = {text[:end] for text in self.texts for end in range(1, len(text))}
        self._tails = {text[start:] for text in self.texts for start in range(1, len(text))}
        self._longest = max(map(len, self.texts), default=0)

    def count(self, text: str) -> int:
        return len(self._starts.findall(text))

    def broken(self, value: Any) -> Any:
        """Returns a JSON value with the tokens in its strings, names of members too, broken."""
        if isinstance(value, str):
            return self._starts.sub(self._broken_start, value)
        if isinstance(value, list):
            return [self.broken(part) for part in value]
        if isinstance(value, dict):
            return {self.broken(name): self.broken(part) for name, part in value.items()}
        return value

    def fenced(self, text: str) -> str:
        """Returns the text set apart from what may make a token with its beginning or its end."""
        core = text.strip()
        lengths = range(1, min(self._longest, len(core) + 1))
        before = self._fence if any(core[:length] in self._tails for length in lengths) else ""
        after = self._fence if any(core[-length:] in self._heads for length in lengths) else ""
        start = len(text) - len(text.lstrip())
        return f"{text[:start]}{before}{core}{after}{text[start + len(core) :]}"

    def _foreign(self, marks: tuple[str, ...]) -> str:
        return next((m for m in marks if not any(m in text for text in self.texts)), marks[-1])

    def _broken_start(self, start: re.Match[str]) -> str:
        return _REPLACED if start[0] in self.texts else start[0] + self._break


def control_tokens(
    tokenizer: Tokenizer, config: Mapping[str, Any], templates: Iterable[str]
) -> ControlTokens:
    """Reads them from `tokenizer.json`, `tokenizer_config.json` and the templates.

    Some tokenizers also have ordinary words, white space or digits among their added tokens:
    of those that are not special only what is set off by punctuation counts.
    """
    added = tokenizer.get_added_tokens_decoder().values()
    found = {token.content for token in added if token.special or _set_off(token.content)}
    found.update(text for text in _configured(config) if text.strip())
    found.update(marker for source in templates for marker in _MARKER.findall(source))
    return ControlTokens(found)


def _configured(config: Mapping[str, Any]) -> Iterator[str]:
    for name, value in config.items():
        if name.endswith("_token"):
            yield from _contents(value)
    for name in _TOKEN_LISTS:
        listed = config.get(name)
        for token in listed.values() if isinstance(listed, dict) else listed or ():
            text = next(_contents(token), "")
            special = name != "added_tokens_decoder" or token.get("special")
            if special or _set_off(text):
                yield text


def _contents(token: object) -> Iterator[str]:
    text = token.get("content") if isinstance(token, dict) else token
    if isinstance(text, str):
        yield text


def _set_off(text: str) -> bool:
    ends = text[:1] + text[-1:]
    return len(text) > 2 and not any(end.isalnum() or end.isspace() or end in "▁_" for end in ends)


def _any_of(texts: Iterable[str]) -> str:
    """A pattern of all of them that shares their beginnings: there may be thousands."""
    tails: dict[str, list[str]] = {}
    for text in texts:
        tails.setdefault(text[:1], []).append(text[1:])
    if "" in tails:  # one of them ends here; what follows does not matter
        return ""
    parts = [re.escape(head) + _any_of(rest) for head, rest in sorted(tails.items())]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"
