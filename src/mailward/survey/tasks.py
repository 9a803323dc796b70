"""What the crew gives to a worker process: some names at a time."""

import msgspec

from mailward.core.survey.listing import Entry

Task = tuple[int, Entry]
"""A place of the plan, and what stands there."""

decode_tasks = msgspec.msgpack.Decoder(list[Task]).decode


def encode_tasks(tasks: list[Task]) -> bytes:
    return msgspec.msgpack.encode(tasks)
