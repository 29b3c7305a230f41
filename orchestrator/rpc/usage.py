"""fleet.v1.UsageService."""
# ruff: noqa: N802 - the methods are named as in the protobuf service

from __future__ import annotations

from orchestrator.api.usage import UsageReports
from orchestrator.domain.usage import UsageRow
from orchestrator.rpc.auth import tenant
from orchestrator.rpc.convert import messages, requests
from orchestrator.rpc.pb.fleet.v1 import usage_pb2, usage_pb2_grpc


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self, reports: UsageReports) -> None:
        self._reports = reports

    async def GetUsage(
        self, request: usage_pb2.GetUsageRequest, _context: object
    ) -> usage_pb2.GetUsageResponse:
        report = await self._reports.get(tenant(), requests.usage_query(request))
        return usage_pb2.GetUsageResponse(
            rows=map(messages.usage_row_message, report.rows),
            total=messages.usage_row_message(UsageRow(report.total)),
        )

    async def ListBudgets(
        self, _request: usage_pb2.ListBudgetsRequest, _context: object
    ) -> usage_pb2.ListBudgetsResponse:
        found = await self._reports.budgets(tenant())
        return usage_pb2.ListBudgetsResponse(budgets=map(messages.budget_state_message, found))
