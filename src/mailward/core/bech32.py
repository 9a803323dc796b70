"""Bech32 (BIP 173), as age writes keys: letters that survive being read aloud, and a checksum."""

_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


class KeyTextInvalid(ValueError):
    """The text is no key; the message says why and never quotes it: it may be secret."""


def encode(prefix: str, data: bytes) -> str:
    """In lower case."""
    values = _regroup(data, 8, 5)
    rest = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    values += [rest >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1{''.join(_LETTERS[value] for value in values)}"


def decode(prefix: str, text: str) -> bytes:
    """Raises KeyTextInvalid."""
    if text not in (text.lower(), text.upper()):
        raise KeyTextInvalid("it is written in small letters and in capitals: one of them")
    text = text.lower()
    head, _, letters = text.rpartition("1")
    if not text.startswith(f"{prefix}1"):
        raise KeyTextInvalid("it begins otherwise")
    if head != prefix or len(letters) <= _CHECKSUM or any(letter not in _LETTERS for letter in letters):
        raise KeyTextInvalid("it is cut off, or has letters that no key has")
    values = [_LETTERS.index(letter) for letter in letters]
    if _polymod([*_expand(prefix), *values]) != 1:
        raise KeyTextInvalid("it has a slip of the pen: its checksum is wrong")
    values = values[:-_CHECKSUM]
    data = bytes(_regroup(values, 5, 8))
    # BIP 173: what was added to fill the last letter is less than a letter, and zero
    if _regroup(data, 8, 5) != values:
        raise KeyTextInvalid("it has bits behind its end")
    return data


def _expand(prefix: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _polymod(values: list[int]) -> int:
    rest = 1
    for value in values:
        top = rest >> 25
        rest = (rest & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate(_GENERATOR):
            rest ^= factor if top >> place & 1 else 0
    return rest


def _regroup(values: bytes | list[int], width: int, new_width: int) -> list[int]:
    """Bits in groups of another width. Into wider groups, what does not fill the last one is left out."""
    held = bits = 0
    made = []
    for value in values:
        held, bits = (held << width | value) & 0xFFF, bits + width
        while bits >= new_width:
            bits -= new_width
            made.append(held >> bits & (1 << new_width) - 1)
    if bits and new_width < width:
        made.append(held << new_width - bits & (1 << new_width) - 1)
    return made
