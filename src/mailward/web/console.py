"""The console's process: static files gathered, then the pages served until a signal ends it."""

import asyncio
import hashlib
import socket
import warnings
from pathlib import Path

import uvicorn

from mailward.config import Settings
from mailward.core.metrics.health import Health
from mailward.net import metrics, pulse
from mailward.net.listening import inherited, open_streams
from mailward.web.fronted import Fronted
from mailward.web.limits import MAX_HEAD_BYTES, BoundedBodies, BoundedProtocol
from mailward.web.observed import Observed

MAX_CONNECTIONS = 500
KEEP_ALIVE_SECONDS = 10
SHUTDOWN_SECONDS = 5
_MARK = ".gathered"


def run(settings: Settings) -> None:
    """Serve the pages. The database has been migrated before."""
    import django

    django.setup()
    gather_static(settings.data_path / "static")
    # WhiteNoise's files are small and read at once; Django would rather have them asynchronous
    warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
    # only now: WhiteNoise looks for its files when the application is made
    from mailward.web.asgi import application

    fronted = Fronted(BoundedBodies(application), settings.console.proxies)
    observed = Observed(fronted, settings.tracing.trusted)
    metrics.tell(observed.families)
    metrics.tell_health(examine)
    server = _Server(
        uvicorn.Config(
            observed,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="uvloop",
            # mailward.web.fronted reads X-Forwarded-For; uvicorn would believe this machine
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    server.run(inherited("console") or open_streams(settings.console_places))


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._beating = asyncio.gather(metrics.beat(), pulse.keep())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._beating.cancel()
        await super().shutdown(sockets)


def examine() -> Health:
    """Ready where the database answers: without it no page can be shown."""
    from django.db import Error as DatabaseError
    from django.db import connection

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return Health(ready=False, reasons=("the database does not answer",), facts={"database": False})
    finally:
        connection.close()
    return Health(facts={"database": True})


def gather_static(target: Path) -> bool:
    """Copy the static files to where WhiteNoise serves them from; False where they are there already."""
    from django.core.management import call_command

    mark, wanted = target / _MARK, _fingerprint()
    if mark.exists() and mark.read_text() == wanted:
        return False
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    mark.write_text(wanted)
    return True


def _fingerprint() -> str:
    """Changes whenever a static file of ours or of a package does."""
    from django.contrib.staticfiles.finders import get_finders

    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            file = Path(storage.path(name)).stat()
            digest.update(f"{name} {file.st_size} {file.st_mtime_ns}\n".encode())
    return digest.hexdigest()
