"""How the database would answer a query: tests say which index it reads, and that it sorts nothing."""

from django.db import connection

_SQLITE_SORT, _POSTGRESQL_SORT = "B-TREE", "Sort"


def plan_of(sql: str) -> str:
    """One line. PostgreSQL must not read whole tables here for their being small."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            return " / ".join(str(row[3]) for row in cursor.fetchall())
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {sql}")
        return " / ".join(str(row[0]).strip() for row in cursor.fetchall())


def reads(plan: str, index: str) -> bool:
    return f"USING INDEX {index} (" in plan or f"using {index} on" in plan


def sorts(plan: str) -> bool:
    return _SQLITE_SORT in plan or _POSTGRESQL_SORT in plan


def scans(plan: str) -> bool:
    """Reads a whole table."""
    return plan.startswith("SCAN") or " / SCAN" in plan or "Seq Scan" in plan
