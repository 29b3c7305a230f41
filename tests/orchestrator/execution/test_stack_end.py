from __future__ import annotations

import pytest
from rpds import HashTrieMap

from orchestrator.execution.stack_end import stack_end


class Endless:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return self == other


def test_a_panic_at_the_end_of_the_stack_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError), stack_end():
        HashTrieMap({Endless(): 1}).get(Endless())


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(KeyboardInterrupt), stack_end():
        raise KeyboardInterrupt
