"""Environments for engines that need packages of their own, beside the project's."""

from orchestrator.engines.errors import EngineError
from orchestrator.engines.flavour import ENGINE, Flavour, Recipe, default_flavour, recipe
from orchestrator.engines.installing import Progress, install, is_current, tiny_model
from orchestrator.engines.store import EngineStore, Facts

__all__ = [
    "ENGINE",
    "EngineError",
    "EngineStore",
    "Facts",
    "Flavour",
    "Progress",
    "Recipe",
    "default_flavour",
    "install",
    "is_current",
    "recipe",
    "tiny_model",
]
