"""What the kernel says about its clock (adjtimex(2))."""

import ctypes

_STA_UNSYNC = 0x0040  # linux/timex.h


class _Timex(ctypes.Structure):
    """The head of struct timex, with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def is_synchronised() -> bool:
    """Whether the kernel says so; no, too, where we may not ask (ProtectClock= of systemd)."""
    state = _Timex()
    answer = ctypes.CDLL(None).adjtimex(ctypes.byref(state))
    return answer >= 0 and not state.status & _STA_UNSYNC
