"""What calls of models took and cost, and what may still be spent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.domain.budgets import BudgetState
from orchestrator.domain.runs import ModelCall
from orchestrator.domain.usage import UsageRow


@dataclass(frozen=True, slots=True)
class Reservation:
    """What calls that belong to no run hold of the tenant's budgets. Settle it, once they ended."""

    token: str
    tenant: str
    agent: str


class Ledger(ABC):
    """Every commit and change of a run adds its transition's calls, once, in the same script:
    to its tenant's day by agent and model, to its session and to itself by model. A run that
    another one started has a session of its own, so its calls are counted once.

    A call of which nothing was committed, as its worker died, is not in here.
    """

    @abstractmethod
    async def reserve(
        self, tenant: str, agent: str, micros: int, *, ttl_s: float = 300.0
    ) -> Reservation:
        """Reserves what calls outside of runs may cost at most; `agent` may be empty.

        Nobody who died holds it for longer than `ttl_s`.

        Raises:
            Exhausted: BUDGET, one is spent; with `retry_after_s`: only reserved.
        """

    @abstractmethod
    async def settle(self, reservation: Reservation, calls: Sequence[ModelCall]) -> None:
        """Gives the reservation back and books what it was for, once, also after it expired."""

    @abstractmethod
    async def today(self) -> str:
        """Returns the store's day of UTC, YYYY-MM-DD."""

    @abstractmethod
    async def by_day(self, tenant: str, days: Sequence[str]) -> tuple[UsageRow, ...]:
        """Returns a row for each day, agent and model with calls, in that order."""

    @abstractmethod
    async def of_session(self, tenant: str, session_id: str) -> tuple[UsageRow, ...]:
        """Returns a row for each model that the session's runs called.

        Raises:
            NotFound: also for another tenant's session.
        """

    @abstractmethod
    async def of_run(self, tenant: str, run_id: str) -> tuple[UsageRow, ...]:
        """Returns a row for each model that the run itself called.

        Raises:
            NotFound: also for another tenant's run.
        """

    @abstractmethod
    async def budgets(self, tenant: str) -> tuple[BudgetState, ...]:
        """Returns the tenant's own budget and those of its agents, as they are now."""
