"""Netstrings, as socketmap frames its questions and answers: `<length>:<bytes>,`."""

MAX_DIGITS = 6


class NetstringError(Exception):
    """The peer does not speak netstrings, or too long ones: nothing after this point can be read."""

    code = "netstring"


def encode(payload: bytes) -> bytes:
    return b"%d:%b," % (len(payload), payload)


def split_frames(buffer: bytes, max_bytes: int) -> tuple[list[bytes], int]:
    """The payloads of all whole netstrings at the start of the buffer, and how many bytes they took.

    What is left is the start of one more, at most `max_bytes` and its frame. Raises NetstringError.
    """
    payloads: list[bytes] = []
    start = 0
    while start < len(buffer):
        colon = buffer.find(b":", start, start + MAX_DIGITS + 1)
        digits = buffer[start : colon if colon >= 0 else start + MAX_DIGITS + 1]
        _check_length(digits, is_whole=colon >= 0, max_bytes=max_bytes)
        if colon < 0:
            break
        end = colon + 1 + int(digits)
        if end >= len(buffer):
            break
        if buffer[end] != ord(","):
            raise NetstringError("a netstring does not end with a comma")
        payloads.append(buffer[colon + 1 : end])
        start = end + 1
    return payloads, start


def _check_length(digits: bytes, *, is_whole: bool, max_bytes: int) -> None:
    if (digits or is_whole) and not digits.isdigit():
        raise NetstringError("a netstring begins with its length in digits")
    if len(digits) > 1 and digits.startswith(b"0"):
        raise NetstringError("the length of a netstring has no leading zeros")
    if len(digits) > MAX_DIGITS or (digits and int(digits) > max_bytes):
        raise NetstringError(f"a netstring is longer than {max_bytes} bytes")
