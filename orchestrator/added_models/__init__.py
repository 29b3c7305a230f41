"""Language models that people add to a running stack: their folder, its making, their entries."""

from orchestrator.added_models.errors import ModelError
from orchestrator.added_models.live import LiveCatalogue
from orchestrator.added_models.store import ModelStore

__all__ = ["LiveCatalogue", "ModelError", "ModelStore"]
