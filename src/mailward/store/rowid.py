"""The primary key of rows whose identifier we make ourselves (`ids`)."""

from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _Field = models.BigIntegerField[int, int]
else:
    _Field = models.BigIntegerField


class RowId(_Field):
    """Eight bytes everywhere. On SQLite it has to be called `integer`: only then is it the row's own number, and
    needs no index beside the table.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "integer" if connection.vendor == "sqlite" else "bigint"
