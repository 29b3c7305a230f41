"""Integers from one bound to another as an EBNF expression over their decimal spelling."""

MAX_DIGITS = 18


def integer_range(low: int | None, high: int | None) -> str:
    """Either bound may be open; both are inclusive."""
    options = []
    if low is None or low < 0:
        least = 1 if high is None or high >= 0 else -high
        options.append(f'"-" ({_natural(least, None if low is None else -low)})')
    if high is None or high >= 0:
        options.append(f"({_natural(max(low or 0, 0), high)})")
    return " | ".join(options)


def _natural(low: int, high: int | None) -> str:
    if high is None:
        digits = len(str(low))
        here = _natural(low, 10**digits - 1)
        return f"{here} | [1-9] [0-9]{{{digits},{MAX_DIGITS}}}" if digits <= MAX_DIGITS else here
    options = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (digits - 1) if digits > 1 else 0)
        last = min(high, 10**digits - 1)
        options += _same_length(str(first), str(last))
    return " | ".join(options)


def _same_length(low: str, high: str) -> list[str]:
    """Numerals of one length from `low` to `high`."""
    if len(low) == 1:
        return [_digit(low, high)]
    tail = len(low) - 1
    nines, zeros = "9" * tail, "0" * tail
    if low[0] == high[0]:
        return [f'"{low[0]}" ({" | ".join(_same_length(low[1:], high[1:]))})']
    options = []
    first, last = int(low[0]), int(high[0])
    if low[1:] != zeros:
        options.append(f'"{low[0]}" ({" | ".join(_same_length(low[1:], nines))})')
        first += 1
    top = []
    if high[1:] != nines:
        top.append(f'"{high[0]}" ({" | ".join(_same_length(zeros, high[1:]))})')
        last -= 1
    if first <= last:
        options.append(f"{_digit(str(first), str(last))} [0-9]{{{tail}}}")
    return options + top


def _digit(low: str, high: str) -> str:
    return f'"{low}"' if low == high else f"[{low}-{high}]"
