"""python -m scripts.llm_bench.background ADDRESS MODEL STREAMS: until standard input ends."""

import asyncio
import sys

from scripts.llm_bench.cancel import keep_streaming

if __name__ == "__main__":
    asyncio.run(keep_streaming(sys.argv[1], sys.argv[2], int(sys.argv[3])))
