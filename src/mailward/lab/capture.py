"""Every packet of one link, kept as tcpdump would: a process on the host that has the link.

python -m mailward.lab.capture INTERFACE FILE       # pcap, which Wireshark reads too
"""

import contextlib
import socket
import struct
import sys

from mailward.net import clock

ETH_P_ALL = 3  # <linux/if_ether.h>
SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>
_BUFFER_BYTES = 64 * 1024 * 1024
_MAX_PACKET = 262_144  # veth hands over packets that were put together
HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
MAGIC = 0xA1B2C3D4
LINK_ETHERNET = 1


def main(interface: str, file: str) -> None:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with contextlib.suppress(PermissionError):  # root of a user namespace may not, with some kernels
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER_BYTES)
    link.bind((interface, ETH_P_ALL))
    with open(file, "wb", buffering=0) as out:  # noqa: PTH123 - unbuffered: whoever reads sees all of it
        out.write(HEADER.pack(MAGIC, 2, 4, 0, 0, _MAX_PACKET, LINK_ETHERNET))
        sys.stdout.write("captures\n")
        sys.stdout.flush()
        while True:
            packet = link.recv(_MAX_PACKET)
            at = clock.now().timestamp()
            record = RECORD.pack(int(at), int(at % 1 * 1_000_000), len(packet), len(packet))
            out.write(record + packet)


if __name__ == "__main__":
    main(*sys.argv[1:3])
