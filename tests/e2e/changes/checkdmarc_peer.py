"""What checkdmarc makes of a domain, again and again; runs in .venv-bench-check. A JSON line for each answer."""

import json
import sys
import threading
import time

from checkdmarc.mta_sts import check_mta_sts

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    found = check_mta_sts(sys.argv[1], nameservers=["127.0.0.1"])
    if found["valid"]:
        policy = found["policy"]
        print(json.dumps(["VALID", found["id"], policy["max_age"], policy["mode"]]), flush=True)
    else:
        print(json.dumps([f"INVALID {found.get('error')}", None, None, None]), flush=True)
    time.sleep(0.2)
