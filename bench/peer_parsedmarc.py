"""One round of parsedmarc per line on standard input; runs in .venv-bench, started by parse_reports.py."""

import logging
import sys
import time
from pathlib import Path

import parsedmarc


def main() -> None:
    logging.disable(logging.CRITICAL)
    mails = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
    for _ in sys.stdin:
        start = time.perf_counter()
        for mail in mails:
            parsedmarc.parse_report_email(mail, offline=True)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
