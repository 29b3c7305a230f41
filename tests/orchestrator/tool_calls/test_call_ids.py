from orchestrator.tool_calls.call_ids import numbered


def test_ids_count_up_behind_their_prefix_each_factory_for_itself() -> None:
    new, other = numbered("call_7_"), numbered("call_7_")
    assert [new(), new(), other()] == ["call_7_1", "call_7_2", "call_7_1"]
