"""The Python client of fleet.v1: what an agent's program uses."""

from orchestrator.client.errors import CallError
from orchestrator.client.fleet import FleetClient
from orchestrator.client.interrupts import Answer

__all__ = ["Answer", "CallError", "FleetClient"]
