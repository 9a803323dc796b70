"""What postfix-mta-sts-resolver makes of a domain, again and again; runs in .venv-bench-sender.

Prints a JSON line for each answer: its word for it, the id, the policy's max_age and mode. Ends with its standard input.
"""

import asyncio
import json
import sys
import threading

from postfix_mta_sts_resolver.resolver import STSResolver


async def main() -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    resolver = STSResolver(timeout=10, loop=asyncio.get_running_loop())
    known = None
    while not ended.is_set():
        status, policy = await resolver.resolve(sys.argv[1], known)
        if policy is not None:
            known = policy[0]
            print(json.dumps([status.name, known, policy[1]["max_age"], policy[1]["mode"]]), flush=True)
        elif status.name != "NOT_CHANGED":
            print(json.dumps([status.name, None, None, None]), flush=True)
        await asyncio.sleep(0.02)


asyncio.run(main())
