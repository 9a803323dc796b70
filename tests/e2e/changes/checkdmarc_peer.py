"""What checkdmarc makes of a domain, again and again; runs in .venv-bench-check. A JSON line for each answer."""

import json
import sys
import threading
import time

from checkdmarc.mta_sts import check_mta_sts


def wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


ended = threading.Event()
threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
while not ended.is_set():
    found = check_mta_sts(sys.argv[1], nameservers=["127.0.0.1"])
    if found["valid"]:
        policy = found["policy"]
        values = ["VALID", found["id"], policy["max_age"], policy["mode"]]
    else:
        values = [f"INVALID {found.get('error')}", None, None, None]
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
    time.sleep(0.2)
