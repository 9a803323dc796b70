import os
import socket

import pytest
from tests.fakes.ports import free_port

from mailward.net.listening import (
    hand_over,
    inherited,
    open_datagrams,
    open_stream,
    open_streams,
    place_of,
)


def test_all_of_ipv4_and_all_of_ipv6_stand_side_by_side_at_one_port() -> None:
    port = free_port()
    opened = [
        each(place) for place in (("0.0.0.0", port), ("::", port)) for each in (open_stream, open_datagrams)
    ]
    assert [place_of(each) for each in opened] == [("0.0.0.0", port)] * 2 + [("::", port)] * 2
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, port), timeout=5).close()
    for each in opened:
        each.close()


def test_an_address_of_several_that_cannot_be_had_leaves_none_open() -> None:
    taken = open_stream(("127.0.0.1", 0))
    free = free_port()
    with pytest.raises(OSError, match="in use"):
        open_streams([("127.0.0.1", free), place_of(taken)])
    open_stream(("127.0.0.1", free)).close()
    taken.close()


def test_what_is_handed_over_is_found_by_name_and_kind() -> None:
    stream, datagrams = open_stream(("127.0.0.1", 0)), open_datagrams(("127.0.0.1", 0))
    # numbers of their own, as a process has them that has just started
    told = hand_over({"nameserver": [stream, datagrams]}).split()
    given = {
        "MAILWARD_SOCKETS": " ".join(
            f"{word.partition('=')[0]}={os.dup(int(word.partition('=')[2]))}" for word in told
        )
    }
    [found] = inherited("nameserver", environ=given)
    [other] = inherited("nameserver", socket.SOCK_DGRAM, given)
    assert (place_of(found), place_of(other)) == (place_of(stream), place_of(datagrams))
    assert not found.get_inheritable()
    assert inherited("smtp", environ=given) == []
    for each in (stream, datagrams, found, other):
        each.close()


def test_without_a_supervisor_nothing_is_handed_over() -> None:
    assert inherited("smtp", environ={}) == []
