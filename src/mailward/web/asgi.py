"""The console as an ASGI application."""

import os

import django
from django.core.handlers.asgi import ASGIHandler, ASGIRequest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailward.web.settings")
django.setup()


class ConsoleRequest(ASGIRequest):
    """Django keeps ASGI's scope in `request.scope`; here that is a person's (mailward.store.scope)."""

    def _get_scheme(self) -> str:
        return self._asgi_scheme

    def __init__(self, scope: dict[str, object], body_file: object) -> None:
        self._asgi_scheme = str(scope.get("scheme") or "http")
        super().__init__(scope, body_file)  # type: ignore[arg-type]  # the stubs know only IO[bytes]
        # what is refused before our middleware has run belongs to nobody, and its page must not take this for one
        del self.scope


class ConsoleHandler(ASGIHandler):
    request_class = ConsoleRequest


application = ConsoleHandler()
