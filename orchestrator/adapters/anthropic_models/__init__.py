"""Models behind Anthropic's API: Anthropic itself, and servers such as vLLM's that speak it."""

from orchestrator.adapters.anthropic_models.language_model import AnthropicModels

__all__ = ["AnthropicModels"]
