"""`signal_sender.py SOCKET FILE RATE`: sends datagrams at a rate without waiting, and says how many were refused.

libtlsrpt takes a new socket for each datagram. One socket stands for all of them here, which is faster, and whose send
buffer must not be the limit: with the kernel's default it holds some 200 datagrams, fewer than a queue of 512.
"""

import json
import socket
import sys
import time
from pathlib import Path

BUFFER_BYTES = 16 * 1024 * 1024
_SO_SNDBUFFORCE = 32


def main() -> None:
    place, file, rate = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    datagrams = file.read_bytes().splitlines()
    sent = lost = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, BUFFER_BYTES)
        sender.connect(place)
        sender.setblocking(False)
        begun = time.monotonic()
        for number, datagram in enumerate(datagrams):
            due = begun + number / rate
            while (early := due - time.monotonic()) > 0:
                if early > 0.0005:
                    time.sleep(0.0003)
            try:
                sender.send(datagram)
                sent += 1
            except BlockingIOError:
                lost += 1
    print(json.dumps({"sent": sent, "lost": lost, "per_s": len(datagrams) / (time.monotonic() - begun)}))


if __name__ == "__main__":
    main()
