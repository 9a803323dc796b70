"""checkdmarc, run inside its own environment: domains from standard input, one JSON object for each domain.

With `--same`, what a survey does not ask is left out: DNSSEC and TLSA of MX hosts, CNAME questions, reverse names.
"""

import json
import sys
import time

import checkdmarc.mta_sts as mta_sts
import checkdmarc.smtp as smtp
import checkdmarc.smtp_tls_reporting as tlsrpt
from dns.resolver import NoAnswer

SERVER = ["127.0.0.1"]


def main() -> None:
    if "--same" in sys.argv:
        query = smtp.query_dns

        def query_dns(name: str, kind: str, **options: object) -> object:
            if kind == "CNAME":
                raise NoAnswer
            return query(name, kind, **options)

        smtp.query_dns = query_dns
        smtp.check_dnssec = lambda *_, **__: False
        smtp.get_tlsa_records = lambda *_, **__: []
        smtp.get_reverse_dns = lambda *_, **__: ["none.test"]
        smtp_addresses = smtp.get_a_records
        smtp.get_a_records = lambda name, **more: [] if name == "none.test" else smtp_addresses(name, **more)
    domains = sys.stdin.read().split()
    found = []
    started = time.perf_counter()
    for domain in domains:
        policy = mta_sts.check_mta_sts(domain, nameservers=SERVER)
        patterns = policy["policy"]["mx"] if policy["valid"] and policy["policy"]["mode"] != "none" else None
        mx = smtp.check_mx(domain, mta_sts_mx_patterns=patterns, nameservers=SERVER)
        found.append((domain, mx, policy, tlsrpt.check_smtp_tls_reporting(domain, nameservers=SERVER)))
    seconds = time.perf_counter() - started
    sys.stderr.write(f"{seconds}\n")
    for domain, mx, policy, report in found:
        sys.stdout.write(json.dumps({"domain": domain, "mx": mx, "mta_sts": policy, "tlsrpt": report}) + "\n")


if __name__ == "__main__":
    main()
