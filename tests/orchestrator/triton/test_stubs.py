"""A dead Python process is told from a model that is being loaded again or was unloaded."""

from orchestrator.triton.backoff import Backoff
from orchestrator.triton.leftovers import Stub
from orchestrator.triton.stubs import StubLedger

FIRST = Stub(10, "embed", "embed_0_0", "a")
SECOND = Stub(11, "embed", "embed_0_1", "b")
OTHER = Stub(12, "topic", "topic_0_0", "c")


def test_nothing_is_missing_while_all_run() -> None:
    ledger = StubLedger()
    assert ledger.observe([FIRST, OTHER]) == []
    assert ledger.observe([FIRST, OTHER]) == []


def test_a_process_missing_twice_from_a_ready_model_is_dead() -> None:
    ledger = StubLedger()
    ledger.observe([FIRST, SECOND, OTHER])
    assert ledger.confirm(ledger.observe([FIRST, OTHER]), {"embed", "topic"}) == []
    assert ledger.confirm(ledger.observe([FIRST, OTHER]), {"embed", "topic"}) == [SECOND]


def test_a_process_that_comes_back_under_its_instance_is_not_dead() -> None:
    ledger = StubLedger()
    ledger.observe([FIRST])
    assert ledger.confirm(ledger.observe([]), {"embed"}) == []
    again = Stub(99, "embed", "embed_0_0", "d")
    assert ledger.observe([again]) == []
    assert ledger.confirm(ledger.observe([]), {"embed"}) == []
    assert ledger.confirm(ledger.observe([]), {"embed"}) == [again]


def test_the_process_of_an_unloaded_model_is_forgotten() -> None:
    ledger = StubLedger()
    ledger.observe([FIRST])
    for _ in range(3):
        assert ledger.confirm(ledger.observe([]), set()) == []
    assert ledger.observe([]) == []


def test_the_process_that_completes_a_configuration_may_end() -> None:
    ledger = StubLedger()
    ledger.observe([FIRST, Stub(20, "embed", "embed", "e")])
    for _ in range(3):
        assert ledger.confirm(ledger.observe([FIRST]), {"embed"}) == []


def test_tries_that_follow_each_other_wait_longer_up_to_a_bound() -> None:
    backoff, now, delays = Backoff(first_s=1, most_s=5, calm_s=60), 100.0, []
    for _ in range(6):
        delays.append(backoff.next_delay(now))
        now += delays[-1] + 1
    assert delays == [0, 1, 2, 4, 5, 5]


def test_after_a_calm_time_the_next_try_is_at_once() -> None:
    backoff = Backoff(calm_s=60)
    assert backoff.next_delay(0) == 0
    assert backoff.next_delay(1) > 0
    assert backoff.next_delay(100) == 0
