from typing import Any

import numpy.typing as npt


class InvalidTextError(ValueError):
    """A request's TEXT that cannot be embedded; the message is for its caller."""


def decode_rows(rows: npt.NDArray[Any]) -> list[str]:
    """TEXT as Triton hands it over, bytes[n, 1], to n strings.

    Raises InvalidTextError for a row that is blank or not UTF-8.
    """
    return [_decode(row, raw) for row, raw in enumerate(rows.reshape(-1))]


def _decode(row: int, raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidTextError(
            f"TEXT row {row} is not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start}"
        ) from None
    if not text.strip():
        what = "blank" if text else "empty"
        raise InvalidTextError(f"TEXT row {row} is {what}; send at least one character to embed")
    return text
