"""The Python client of fleet.v1: what an agent's program uses."""

from orchestrator.client.errors import CallError
from orchestrator.client.fleet import FleetClient

__all__ = ["CallError", "FleetClient"]
