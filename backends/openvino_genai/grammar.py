"""Structured output as an EBNF grammar that the engine is sure to accept.

A grammar the engine cannot read kills its pipeline and every request in it, and its own JSON
grammars allow white space without end, which a weak model may then emit until its token limit.
So grammars are made here, where a bad schema fails alone, and white space is bounded.
"""

import json
from functools import lru_cache

from backends.llm_serving.errors import InvalidRequest
from backends.llm_serving.structured import StructuredOutput
from backends.openvino_genai.json_grammar import JsonGrammar
from backends.openvino_genai.literals import literal
from backends.openvino_genai.regex_grammar import regex_rule


@lru_cache(maxsize=256)
def grammar_for(structured: StructuredOutput) -> str:
    """Raises InvalidRequest, naming what cannot be expressed."""
    if structured.kind == "choice":
        return "root ::= " + " | ".join(literal(one) for one in json.loads(structured.text))
    if structured.kind == "regex":
        return f"root ::= {regex_rule(structured.text)}"
    if structured.kind == "json_object":
        return JsonGrammar(True, fixed_space=structured.fixed_space).text(objects_only=True)
    if structured.kind == "json":
        schema = json.loads(structured.text)
        return JsonGrammar(schema, fixed_space=structured.fixed_space).text()
    raise InvalidRequest(
        "sampling_parameters: this engine takes structured output as json, json_object, choice "
        "or regex, not as grammar"
    )
