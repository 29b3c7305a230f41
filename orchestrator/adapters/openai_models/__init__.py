"""Models behind OpenAI's API: OpenAI itself, vLLM's server, Ollama, llama.cpp, …"""

from orchestrator.adapters.openai_models.language_model import OpenAIModels

__all__ = ["OpenAIModels"]
