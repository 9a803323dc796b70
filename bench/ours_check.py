"""One domain a line on standard input (after a space: `deep`), our document a line on standard output."""

import asyncio
import json
import sys
import time
from pathlib import Path

from mailward.core.check.document import build_document
from mailward.core.check.run import run
from mailward.core.names import parse_domain
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver
from mailward.probe.observe import Observer, Ways


async def check(ca_file: Path) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, _, depth = line.strip().partition(" ")
        start, cpu = time.perf_counter(), time.process_time()
        ways = Ways(ca_file=ca_file, is_deep=depth == "deep")
        observer = Observer(Resolver(["127.0.0.1"]), Guard(allow_private=True), ways)
        document = build_document(run(await observer.observe(parse_domain(name))))
        print(json.dumps([time.perf_counter() - start, time.process_time() - cpu, document]), flush=True)


if __name__ == "__main__":
    asyncio.run(check(Path(sys.argv[1])))
