"""What the tests ask for."""

PROMPT = "<|im_start|>user\nHow do you do?<|im_end|>\n<|im_start|>assistant\n"
LONG = {"temperature": 1, "seed": 11, "max_tokens": 40, "ignore_eos": True}
ENDLESS = {"max_tokens": None, "ignore_eos": True}
