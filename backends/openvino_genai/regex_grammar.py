r"""Regular expressions to EBNF: what describes a whole answer, and no more.

Literals, `.`, classes, `\d \w \s` and their like, groups, `|`, and greedy quantifiers; anchors
only at the ends, where they change nothing. No look-around, no back references.
"""

from backends.llm_serving.errors import InvalidRequest
from backends.openvino_genai.literals import class_of, literal

MAX_REPEAT = 1000
_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": r" \t\n\r\f\v"}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_NOT_IN_JSON = frozenset('"\\')


def regex_rule(pattern: object, *, in_json: bool = False) -> str:
    """An expression in parentheses; `in_json` keeps to what a JSON string holds unescaped."""
    if not isinstance(pattern, str):
        raise InvalidRequest("sampling_parameters: a regex must be a string")
    return f"({_Parser(pattern, in_json=in_json).parse()})"


class _Parser:
    def __init__(self, pattern: str, *, in_json: bool) -> None:
        self._text = pattern.removeprefix("^")
        if self._text.endswith("$") and not self._text.endswith("\\$"):
            self._text = self._text[:-1]
        self._shown = pattern
        self._in_json = in_json
        self._at = 0

    def parse(self) -> str:
        rule = self._alternatives()
        if self._at < len(self._text):
            raise self._error("has an unmatched ')'")
        return rule

    def _error(self, what: str) -> InvalidRequest:
        return InvalidRequest(f"sampling_parameters: the regex {self._shown[:80]!r} {what}")

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self, inside: str = "") -> str:
        char = self._peek()
        if not char:
            raise self._error(f"ends {inside or 'too early'}")
        self._at += 1
        return char

    def _alternatives(self) -> str:
        options = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence())
        return " | ".join(options)

    def _sequence(self) -> str:
        parts = []
        while self._peek() and self._peek() not in "|)":
            parts.append(self._quantified(self._atom()))
        return " ".join(parts) or '""'

    def _atom(self) -> str:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == ".":
            return r'[^"\\\x00-\x1f]' if self._in_json else r"[^\n]"
        if char == "\\":
            return self._escape()
        if char in "*+?{":
            raise self._error(f"has {char!r} with nothing before it")
        if char in "^$":
            raise self._error(f"has {char!r} in its middle, which is not supported")
        return self._literal(char)

    def _literal(self, char: str) -> str:
        if self._in_json and (char in _NOT_IN_JSON or ord(char) < 32):
            raise self._error(f"matches {char!r}, which a JSON string holds only escaped")
        return literal(char)

    def _escape(self) -> str:
        char = self._next()
        if char in _CLASSES:
            return f"[{_CLASSES[char]}]"
        if char.lower() in _CLASSES:
            return f"[^{_CLASSES[char.lower()]}]"
        return self._literal(self._escaped(char))

    def _escaped(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isalnum():
            raise self._error(f"uses \\{char}, which is not supported")
        return char

    def _group(self) -> str:
        if self._peek() == "?":
            self._at += 1
            if self._next() != ":":
                raise self._error("uses a group other than (…) and (?:…), which is not supported")
        rule = self._alternatives()
        if self._next("inside a group") != ")":
            raise self._error("ends inside a group")
        return f"({rule})"

    def _class(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        parts: list[str] = []
        while (char := self._next("inside a class")) != "]" or not parts:
            parts.append(self._class_part(char))
        if negated and not "".join(parts).isascii():
            raise self._error("excludes characters beyond ASCII, which is not supported")
        if self._in_json and negated:
            parts.append(r'"\\\x00-\x1f')
        return class_of(parts, negated=negated)

    def _class_part(self, char: str) -> str:
        if char == "\\":
            char = self._next("inside a class")
            if char in _CLASSES:
                return _CLASSES[char]
            char = self._escaped(char)
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in {"]", ""}:
            return self._in_class(char)
        self._at += 1
        last = self._next("inside a class")
        if last == "\\":
            last = self._escaped(self._next("inside a class"))
        if last < char:
            raise self._error(f"has the range {char}-{last}, which is the wrong way round")
        return f"{self._in_class(char)}-{self._in_class(last)}"

    def _in_class(self, char: str) -> str:
        if self._in_json and char in _NOT_IN_JSON:
            raise self._error(f"matches {char!r}, which a JSON string holds only escaped")
        if ord(char) < 32:
            return f"\\x{ord(char):02x}"
        return "\\" + char if char in "]\\^-[" else char

    def _quantified(self, atom: str) -> str:
        char = self._peek()
        if char and char in "*+?":
            self._at += 1
            atom += char
        elif char == "{":
            atom += self._counted()
        else:
            return atom
        if self._peek() and self._peek() in "*+?{":
            raise self._error(
                "has a lazy, possessive or doubled quantifier, which is not supported"
            )
        return atom

    def _counted(self) -> str:
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        if end < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
            raise self._error("has a '{' that is not {n}, {n,} or {n,m}")
        if max(int(low), int(high or 0)) > MAX_REPEAT or (high and int(high) < int(low)):
            raise self._error(f"repeats more than {MAX_REPEAT} times, or from more to less")
        self._at = end + 1
        return f"{{{low}{comma}{high}}}"
