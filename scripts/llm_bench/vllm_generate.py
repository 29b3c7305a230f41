"""`LLM.generate` in vLLM's environment: python vllm_generate.py ARGUMENTS NEW_TOKENS.

A JSON list of prompts a line on standard input; on standard output a JSON object with the
seconds and the texts, on a line of its own.
"""

import json
import sys
import time

ANSWER = "answer "


def main() -> None:
    from vllm import LLM, SamplingParams  # noqa: PLC0415 - not where ANSWER is read

    llm = LLM(**json.loads(sys.argv[1]))
    params = SamplingParams(
        temperature=0,
        max_tokens=int(sys.argv[2]),
        ignore_eos=True,
        skip_special_tokens=False,
    )
    print(ANSWER + "{}", flush=True)
    for line in sys.stdin:
        prompts = json.loads(line)
        began = time.perf_counter()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - began
        texts = [output.outputs[0].text for output in outputs]
        print(ANSWER + json.dumps({"seconds": seconds, "texts": texts}), flush=True)


if __name__ == "__main__":
    main()
