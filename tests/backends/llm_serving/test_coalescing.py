from backends.llm_serving.coalescing import Coalescing


def test_a_lone_stream_is_sent_by_time() -> None:
    assert Coalescing(16, 20.0, 1000.0).steps_until_next(1, 0.002) == 10


def test_tokens_are_never_held_beyond_the_most_of_one_message() -> None:
    assert Coalescing(16, 20.0, 1000.0).steps_until_next(1, 0.0001) == 16


def test_many_streams_share_the_messages() -> None:
    assert Coalescing(64, 20.0, 1000.0).steps_until_next(256, 0.01) == 25


def test_a_slow_model_is_sent_token_by_token() -> None:
    assert Coalescing(16, 20.0, 1000.0).steps_until_next(1, 0.5) == 1
    assert Coalescing(16, 20.0, 1000.0).steps_until_next(1, 0.0) == 1


def test_one_token_a_message_can_be_asked_for() -> None:
    assert Coalescing(1, 1000.0, 1.0).steps_until_next(256, 0.001) == 1
