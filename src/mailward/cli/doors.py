"""The report doors, with the certificates that are ordered for their names. Here, since `ingest` knows no `hosting`."""

import asyncio

from mailward.config import Settings
from mailward.hosting.certificates import IssuedCertificates
from mailward.hosting.notices import Notices
from mailward.ingest import doors
from mailward.net.sealing import load_keyring


async def run(settings: Settings) -> None:
    """Serve until cancelled. Django must be set up."""
    if not settings.acme.directories:
        await doors.run(settings)
        return
    path = settings.data_path / "certificates-doors.sqlite3"
    issued = IssuedCertificates(path, load_keyring(settings), own_names=True)
    notices = Notices()
    await asyncio.gather(doors.run(settings, [issued]), notices.listen(), issued.follow(notices))
