"""Who acts in the tests of the store: Alice, for her organisation."""

import pytest

from mailward.store.models import User
from mailward.store.scope import Scope, scope_of


@pytest.fixture
def scope(alice_user: User) -> Scope:
    found = scope_of(alice_user)
    assert found is not None
    return found
