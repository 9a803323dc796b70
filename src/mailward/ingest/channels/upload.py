"""Files that a person brings: through the upload page or `mailward report import`.

The person vouches for them, and they are marked so. Otherwise they go the way of every report.
"""

from django.conf import settings as django_settings
from django.db import OperationalError

from mailward.config import Settings
from mailward.ingest.accept import Arrival, accept_now, limits_of
from mailward.ingest.addresses import ReportAddress
from mailward.ingest.errors import StoreBusy
from mailward.net import clock
from mailward.store.models import Door
from mailward.store.services.incoming import Stored


def accept_upload(address: ReportAddress, name: str, content: bytes, *, user_id: int) -> Stored:
    """Store an uploaded file as if it had come to `address`; committed when this returns.

    `Stored.quarantine_id` is set where it cannot be read. Raises StoreBusy: then nothing was kept.
    """
    settings: Settings = django_settings.MAILWARD
    arrival = Arrival(Door.UPLOAD, address, content, clock.now(), name, user_id)
    try:
        stored = accept_now(arrival, limits_of(settings))
    except OperationalError as error:
        raise StoreBusy(str(error)) from error
    if stored.refused:
        raise StoreBusy(stored.refused)
    return stored
