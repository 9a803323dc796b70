"""One domain a line on standard input, what checkdmarc finds a line on standard output; runs in .venv-bench-check.

Its four parts that speak of the same things as `mailward check`: DNSSEC, MTA-STS, the MX hosts with TLS, TLSRPT. SPF,
DMARC, BIMI, SOA and NS are left out, and cost it nothing here.
"""

import json
import logging
import sys
import time
from typing import Any

from checkdmarc import check_domains  # noqa: F401 - the whole package is loaded before the first clock
from checkdmarc.dnssec import check_dnssec
from checkdmarc.mta_sts import check_mta_sts
from checkdmarc.smtp import check_mx
from checkdmarc.smtp_tls_reporting import check_smtp_tls_reporting

RESOLVERS = ["127.0.0.1"]


def check(domain: str) -> dict[str, Any]:
    """As its check_domains does, in that order."""
    found: dict[str, Any] = {"dnssec": check_dnssec(domain, nameservers=RESOLVERS)}
    found["mta_sts"] = check_mta_sts(domain, nameservers=RESOLVERS)
    patterns = found["mta_sts"]["policy"]["mx"] if found["mta_sts"]["valid"] else None
    found["mx"] = check_mx(domain, mta_sts_mx_patterns=patterns, check_mx_tls=True, nameservers=RESOLVERS)
    found["smtp_tls_reporting"] = check_smtp_tls_reporting(domain, nameservers=RESOLVERS)
    return found


def main() -> None:
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        found = check(line.strip())
        print(json.dumps([time.perf_counter() - start, time.process_time() - cpu, found]), flush=True)


if __name__ == "__main__":
    main()
