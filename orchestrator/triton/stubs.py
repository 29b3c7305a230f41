"""Which model's Python process has died.

Triton 2.51 goes on calling such a model ready, and answers its requests with an error, or on a
decoupled model's open streams not at all.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from orchestrator.triton.leftovers import Stub

# An instance that is being loaded again is missing for a moment.
MISSED_TWICE = 2


@dataclass(slots=True)
class StubLedger:
    """Compares what runs now with what ran before."""

    known: dict[str, Stub] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)

    def observe(self, alive: Iterable[Stub]) -> list[Stub]:
        """Takes in what runs; returns the instances that ran before and do not now."""
        # While a model loads, a process under the model's own name completes its configuration.
        alive = [stub for stub in alive if stub.instance != stub.model]
        for stub in alive:
            self.known[stub.instance] = stub
            self.missed.pop(stub.instance, None)
        running = {stub.instance for stub in alive}
        return [stub for name, stub in self.known.items() if name not in running]

    def confirm(self, missing: Iterable[Stub], ready: Collection[str]) -> list[Stub]:
        """The dead ones: missing twice in a row while Triton calls their model ready.

        A model that is not ready was unloaded by someone, and its stub is forgotten.
        """
        dead = []
        for stub in missing:
            if stub.model not in ready:
                self.forget(stub.instance)
                continue
            self.missed[stub.instance] = self.missed.get(stub.instance, 0) + 1
            if self.missed[stub.instance] >= MISSED_TWICE:
                dead.append(stub)
        return dead

    def forget(self, instance: str) -> None:
        self.known.pop(instance, None)
        self.missed.pop(instance, None)
