"""The process that only receives signals of TLS sessions, and what it needs to: no more memory than its parent had."""

import gc
import signal

from mailward.sender.receive import Intake
from mailward.sender.signals import WANTED_QUEUE_LENGTH, Signals
from mailward.sender.workers import heed_stop


def run_receiver(signals: Signals, *, in_order: bool) -> int:
    """In a process of its own, until SIGTERM or SIGINT; its exit status."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    is_short = signals.queue_length < WANTED_QUEUE_LENGTH
    length = signals.queue_length
    intake = Intake(signals.ring, signals.socket, length, in_order=in_order, is_first=is_short)
    heed_stop(intake.stop)
    gc.freeze()
    gc.disable()  # it makes no cycles
    return intake.run()
