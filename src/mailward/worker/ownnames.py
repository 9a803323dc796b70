"""Which of the installation's own names certificates are ordered for: those for which the operator keeps no file."""

from mailward.config import Settings
from mailward.net.certificates import pem_folders
from mailward.net.pemfiles import PemSource
from mailward.store.aio import in_store
from mailward.store.services.ownnames import plan_own

_files: dict[int, tuple[Settings, PemSource]] = {}


async def plan_own_names(settings: Settings) -> None:
    files = _files_of(settings)
    wanted = [name for name in settings.own_names if files.version_for(name) is None]
    # large folders take a while: until then nobody knows
    if files.is_complete or not settings.own_names:
        await in_store(plan_own, wanted)


def _files_of(settings: Settings) -> PemSource:
    """The folders as this process knows them: they are not read anew each time."""
    known = _files.get(id(settings))
    if known is None or known[0] is not settings:
        known = settings, PemSource(pem_folders(settings))
        _files.clear()
        _files[id(settings)] = known
    return known[1]
