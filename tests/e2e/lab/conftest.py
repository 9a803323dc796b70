"""Only root may make network namespaces: as for tests/e2e/postfix."""

from tests.e2e.postfix.conftest import root

__all__ = ["root"]
