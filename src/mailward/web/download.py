"""Files to download. Their bytes are strangers': no browser shall take them for a page of ours."""

import re

from django.http import HttpResponse

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def attachment(
    content: bytes | str, name: str, content_type: str = "application/octet-stream"
) -> HttpResponse:
    """`name` may be a stranger's; only harmless characters of it are kept."""
    response = HttpResponse(content, content_type=content_type)
    safe = _UNSAFE.sub("-", name).strip(".-")[:100] or "report"
    response.headers["Content-Disposition"] = f'attachment; filename="{safe}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-store"
    # for whoever opens it in spite of all that
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def raw_extension(content: bytes, *, is_mail: bool) -> str:
    """How the name of such bytes ends."""
    if is_mail:
        return "eml"
    if content.startswith(b"\x1f\x8b"):
        return "json.gz"
    if content.startswith(b"PK"):
        return "zip"
    return "json" if content.lstrip()[:1] in (b"{", b"[") else "bin"
