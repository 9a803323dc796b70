"""What postfix-mta-sts-resolver makes of a domain, again and again; runs in .venv-bench-sender.

Writes a JSON line for each answer: its word for it, the id, max_age and mode. Ends with its standard input.
"""

import asyncio
import json
import sys
import threading

from postfix_mta_sts_resolver.resolver import STSResolver


def say(*values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


async def main() -> None:
    ended = threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    resolver = STSResolver(timeout=10, loop=asyncio.get_running_loop())
    known = None
    while not ended.is_set():
        status, policy = await resolver.resolve(sys.argv[1], known)
        if policy is not None:
            known = policy[0]
            say(status.name, known, policy[1]["max_age"], policy[1]["mode"])
        elif status.name != "NOT_CHANGED":
            say(status.name, None, None, None)
        await asyncio.sleep(0.02)


asyncio.run(main())
