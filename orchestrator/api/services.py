"""The application services together."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.api.agents import Agents
from orchestrator.api.dead_letters import DeadLetterOffice
from orchestrator.api.inference import Inference
from orchestrator.api.runs import Runs
from orchestrator.api.sessions import Sessions
from orchestrator.api.usage import UsageReports


@dataclass(frozen=True, slots=True)
class Services:
    agents: Agents
    sessions: Sessions
    runs: Runs
    dead_letters: DeadLetterOffice
    inference: Inference
    usage: UsageReports
