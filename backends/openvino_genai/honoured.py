"""What this engine honours of a request."""

from backends.llm_serving.engine import EngineRequest
from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.sampling import MOST_SEQUENCES, MOST_STOPS, refuse_extras
from backends.openvino_genai.grammar import grammar_for

MOST_REPETITION_PENALTY = 2.0


def check_request(request: EngineRequest) -> None:
    """Raises InvalidRequest, naming what is not honoured."""
    params = request.params
    refuse_extras(params)
    if params.logprobs is not None and not 0 <= params.logprobs <= int(params.greedy):
        raise InvalidRequest(
            "sampling_parameters: 'logprobs' must be 0 here, or 1 with temperature 0, "
            f"not {params.logprobs}: this engine reports the chosen token only"
        )
    if params.n > 1 and request.stream:
        raise InvalidRequest(
            f"sampling_parameters: 'n' must be 1 when stream is true, not {params.n}"
        )
    for name, value, most in (
        ("n", params.n, MOST_SEQUENCES),
        ("repetition_penalty", params.repetition_penalty, MOST_REPETITION_PENALTY),
    ):
        if value > most:
            raise InvalidRequest(f"sampling_parameters: '{name}' must be at most {most} here")
    if len(params.stop) > MOST_STOPS:
        raise InvalidRequest(f"sampling_parameters: 'stop' must be at most {MOST_STOPS} strings")
    if params.structured is not None:
        grammar_for(params.structured)
