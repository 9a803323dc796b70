"""What could not be read, the newest first."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import F
from django.db.models.functions import Length

from mailward.core.tlsrpt.deviations import DEVIATIONS
from mailward.store.models import Door, QuarantinedMessage
from mailward.store.scope import Scope

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    id: int
    reason: str
    """A slug; `explain_reason` says it in words."""
    detail: str
    door: str
    name: str
    """The file's name, where it had one."""
    size: int
    domain: str | None
    """The domain whose address it came to; None: the organisation's."""
    received_at: datetime
    read_again_at: datetime | None

    @property
    def reason_text(self) -> str:
        return explain_reason(self.reason)

    @property
    def door_label(self) -> str:
        return str(Door(self.door).label)


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    rows: tuple[QuarantineRow, ...]
    number: int
    """From 1."""
    pages: int
    total: int


def list_quarantined(scope: Scope, page: int = 1) -> QuarantinePage:
    found = scope.quarantined()
    total = found.count()
    pages = max(1, -(-total // PAGE_ROWS))
    number = min(max(page, 1), pages)
    rows = found.order_by("-id").annotate(size=Length("raw__content"), address=F("address_domain__name"))
    values = rows.values_list(
        "id", "reason", "detail", "raw__door", "raw__name", "size", "address", "received_at", "read_again_at"
    )[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    return QuarantinePage(tuple(QuarantineRow(*row) for row in values), number, pages, total)


def find_quarantined(scope: Scope, quarantine_id: int) -> QuarantinedMessage | None:
    """With raw, address_domain and imported_by; None: there is none such for this person."""
    found = scope.quarantined().select_related("raw", "address_domain", "imported_by")
    return found.filter(pk=quarantine_id).first()


def explain_reason(slug: str) -> str:
    """Why a message with this reason could not be read, in words."""
    if slug == "reader-failed":  # mailward.ingest.accept.READER_FAILED
        return "Mailward made a mistake while it read this. An upgrade may read it."
    info = DEVIATIONS.get(slug)
    return info.text if info else "It could not be read, for a reason that this version does not know."
