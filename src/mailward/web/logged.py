"""What Django logs of requests, without the links that let people in."""

import logging
import re

DJANGOS = ("django.request", "django.security.csrf")
_LINK = re.compile(r"/(start|join|veto|password/reset)/[^\s'\">]+")


class HideLinks(logging.Filter):
    """Django names the path of each request that failed or was refused: of a link that works once, it is the secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_hide(each) if isinstance(each, str) else each for each in record.args)
        if (request := getattr(record, "request", None)) is not None:
            record.request = _hide(str(request))
        return True


def _hide(text: str) -> str:
    return _LINK.sub(r"/\1/...", text)
