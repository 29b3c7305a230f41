"""What one question asks of a tool, what the tool says, and the answer that follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """An order or a product as `lookup` returns it."""

    key: str
    fields: Mapping[str, object]

    @property
    def is_order(self) -> bool:
        return self.key.startswith("A")


@dataclass(frozen=True)
class Ask:
    """`question` has no capital and no end mark; it is dressed when it becomes a message.

    `arguments` are in the order of the tool's required parameters.
    """

    question: str
    purpose: str
    arguments: tuple[str | float, ...]
    result: str
    answer: str
    kind: str = ""
    number: str | None = None
    record: Record | None = None
    commands: bool = field(default=False)

    @property
    def argument(self) -> str:
        """The first argument as text."""
        return str(self.arguments[0])
