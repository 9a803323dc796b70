"""A person at the console, without a browser: forms are filled in as they come, with their hidden fields."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

CONSOLE = "http://127.0.0.1:8000"


class Person:
    def __init__(self, email: str, password: str) -> None:
        self.email, self.password = email, password
        self._forget()

    def _forget(self) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def come_in(self, link: str) -> bool:
        """The link of the first administrator, and its form."""
        fields = {
            "name": "Ada",
            "email": self.email,
            "organisation_name": "Example Ltd",
            "password": self.password,
        }
        return "Sign out" in self._fill(link, fields)

    def sign_in(self) -> bool:
        """With a fresh browser."""
        self._forget()
        return "Sign out" in self._fill(f"{CONSOLE}/login/", {"login": self.email, "password": self.password})

    def read(self, path: str) -> str:
        """A page; empty where there is none, or nobody answers."""
        return self._open(f"{CONSOLE}{path}", None)

    def _fill(self, url: str, fields: dict[str, str]) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self._open(url, None))
        if token is None:
            return ""
        return self._open(url, urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token[1]}).encode())

    def _open(self, url: str, body: bytes | None) -> str:
        try:
            with self._opener.open(url, body, timeout=30) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""
