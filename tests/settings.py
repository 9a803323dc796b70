"""Django's settings in tests: the product's, with a data folder of its own and a quick password hash."""

import os
import tempfile

from tests import postgresql

# pytest-xdist's workers each get a folder: secret key, database and certificates are theirs alone
_folder = os.environ.get("MAILWARD_DATA") or tempfile.mkdtemp(prefix="mailward-tests-")
os.environ["MAILWARD_DATA"] = f"{_folder}/{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"

IS_POSTGRESQL = os.environ.get("MAILWARD_TEST_DATABASE", "sqlite") == "postgresql"
if IS_POSTGRESQL:
    # started with the first test that wants a database (conftest.py)
    os.environ |= postgresql.SERVER.environment("mailward")

import msgspec  # noqa: E402

from mailward.config import Dns  # noqa: E402
from mailward.web.settings import *  # noqa: E402, F403 - the folder must be known first
from mailward.web.settings import DATABASES, MAILWARD, STORAGES  # noqa: E402

# nobody answers there, and at once: a test that needs DNS brings its own
MAILWARD = msgspec.structs.replace(MAILWARD, dns=Dns(resolvers=("127.0.0.1:9",)))
if not IS_POSTGRESQL:
    # a file, as in the product: threads and child processes see it too
    DATABASES["default"]["TEST"] = {"NAME": str(MAILWARD.data_path / "test.sqlite3")}
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# WhiteNoise warns where it is missing
MAILWARD.data_path.joinpath("static").mkdir(parents=True, exist_ok=True)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
