"""Where each field of a protobuf text stands, which protobuf's own parser does not keep."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*|[-+]?[0-9.][A-Za-z0-9_.+-]*|-)
      | (?P<mark>.)""",
    re.VERBOSE,
)
OPENING, CLOSING = {"{": "}", "<": ">"}, frozenset("}>")


@dataclass(slots=True)
class Node:
    """A field's value: `text` of a scalar, or the fields of a message."""

    line: int
    text: str = ""
    fields: dict[str, list[Self]] = field(default_factory=dict)

    def line_of(self, *path: str | int) -> int:
        """The line of the deepest part of the path that is there.

        An index follows a field's name, and is 0 where none does.
        """
        node, line = self, self.line
        steps = list(path)
        while steps:
            name = steps.pop(0)
            index = steps.pop(0) if steps and isinstance(steps[0], int) else 0
            values = node.fields.get(str(name), [])
            if not isinstance(index, int) or index >= len(values):
                break
            node = values[index]
            line = node.line
        return line

    def entries(self, *path: str | int) -> list[tuple[str, int]]:
        """The keys of a map field, with their lines, as written: also those written twice."""
        *above, name = path
        node = self
        while above:
            step = above.pop(0)
            index = above.pop(0) if above and isinstance(above[0], int) else 0
            values = node.fields.get(str(step), [])
            if not isinstance(index, int) or index >= len(values):
                return []
            node = values[index]
        entries = node.fields.get(str(name), [])
        # An entry without a key has the empty one.
        keys = [entry.fields.get("key", [Node(entry.line)])[0] for entry in entries]
        return [(key.text, key.line) for key in keys]


def locate(text: str) -> Node:
    """The tree of a text that protobuf's parser has already accepted."""
    return _Reader(list(_tokens(text))).message(1, None)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for found in TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if kind == "newline":
            line += 1
        elif kind != "space":
            yield _Token(kind, found[0], line)


@dataclass(slots=True)
class _Reader:
    tokens: list[_Token]
    at: int = 0

    def message(self, line: int, closing: str | None) -> Node:
        node = Node(line)
        while (token := self._peek()) is not None:
            self.at += 1
            if token.text == closing:
                break
            if token.kind == "word":
                self._field(node, token)
            elif token.text == "[":
                self._skip_to("]")
        return node

    def _field(self, node: Node, name: _Token) -> None:
        if self._is(":"):
            self.at += 1
        values = node.fields.setdefault(name.text, [])
        if not self._is("["):
            values.append(self._value(name.line))
            return
        self.at += 1
        while self._peek() is not None and not self._is("]"):
            if self._is(","):
                self.at += 1
            else:
                values.append(self._value(None))
        self.at += 1

    def _value(self, line: int | None) -> Node:
        """`line` is the field's name's, for a value that is not one of a list."""
        token = self._peek()
        if token is None:
            return Node(line or 1)
        self.at += 1
        line = line or token.line
        if token.text in OPENING:
            return self.message(line, OPENING[token.text])
        text = _unquoted(token)
        while token.kind == "string" and (more := self._peek()) and more.kind == "string":
            self.at += 1
            text += _unquoted(more)
        return Node(line, text)

    def _peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _is(self, mark: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "mark" and token.text == mark

    def _skip_to(self, mark: str) -> None:
        while self._peek() is not None and not self._is(mark):
            self.at += 1
        self.at += 1


def _unquoted(token: _Token) -> str:
    return token.text[1:-1] if token.kind == "string" else token.text
