"""fleet.v1.InferenceService."""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from orchestrator.api.inference import Inference
from orchestrator.rpc.auth import tenant
from orchestrator.rpc.convert import messages, requests
from orchestrator.rpc.pb.fleet.v1 import inference_pb2, inference_pb2_grpc


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def ListModels(
        self, _request: inference_pb2.ListModelsRequest, _context: object
    ) -> inference_pb2.ListModelsResponse:
        models = await self._inference.models()
        return inference_pb2.ListModelsResponse(models=map(messages.model_message, models))

    async def Route(
        self, request: inference_pb2.RouteRequest, _context: object
    ) -> inference_pb2.RouteResponse:
        policy = requests.model_policy(request.policy, "policy")
        decisions = await self._inference.route(request.texts, policy)
        return inference_pb2.RouteResponse(decisions=map(messages.route_message, decisions))

    async def Embed(
        self, request: inference_pb2.EmbedRequest, _context: object
    ) -> inference_pb2.EmbedResponse:
        vectors = await self._inference.embed(request.texts)
        return inference_pb2.EmbedResponse(
            embeddings=[inference_pb2.Embedding(values=vector) for vector in vectors]
        )

    async def Classify(
        self, request: inference_pb2.ClassifyRequest, _context: object
    ) -> inference_pb2.ClassifyResponse:
        found = await self._inference.classify(request.texts)
        return inference_pb2.ClassifyResponse(
            classifications=map(messages.classification_message, found)
        )

    async def Generate(
        self, request: inference_pb2.GenerateRequest, _context: object
    ) -> AsyncIterator[inference_pb2.GenerateResponse]:
        generated = self._inference.generate(requests.generate(request), tenant=tenant())
        async with aclosing(generated) as chunks:
            async for chunk in chunks:
                yield messages.chunk_message(chunk)
