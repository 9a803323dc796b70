"""A PostgreSQL server of the tests' own, from Debian's package: on a Unix socket, as a user without rights.

`MAILWARD_TEST_DATABASE=postgresql` lets the tests of the store and of all that stands on it run on one; each process
of pytest has its own. Tests that want a server of their own make a `Server`.
"""

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{folder}'
shared_buffers = 32MB
max_connections = 400
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
log_min_messages = warning
log_min_error_statement = panic
"""


class Server:
    """Made without doing anything; `start` makes the cluster on first use."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        if self._folder is None:
            # short: the path of a socket has at most 107 octets
            self._folder = Path(tempfile.mkdtemp(prefix="mailward-pg-"))
            atexit.register(self.remove)
        return self._folder

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def environment(self, database: str) -> dict[str, str]:
        """The settings of a Mailward that uses it."""
        return {
            "MAILWARD_DATABASE_NAME": database,
            "MAILWARD_DATABASE_HOST": str(self.folder),
            "MAILWARD_DATABASE_USER": "mailward",
            # tests of what is locked wait for it
            "MAILWARD_DATABASE_LOCK_SECONDS": "1",
            # each test has threads of its own, which take their connections with them
            "MAILWARD_DATABASE_CONNECTIONS": "150",
        }

    def start(self) -> None:
        """Returns once it answers."""
        if self._process is not None:
            return
        cluster = self.folder / "cluster"
        is_new = not cluster.exists()
        if is_new:
            if os.geteuid() == 0:
                user = pwd.getpwnam("postgres")
                os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._run(
                "initdb", "--pgdata", cluster, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"
            )
            with (cluster / "postgresql.conf").open("a") as file:
                file.write(_CONFIGURATION.format(folder=self.folder))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", cluster],
                stdout=log,
                stderr=subprocess.STDOUT,
                user=_user(),
                extra_groups=[] if _user() else None,
                preexec_fn=_die_with_us,  # noqa: PLW1509 - a system call and no more
                cwd="/",
            )
        self._wait()
        if is_new:
            # as an administrator would make it: no superuser
            self.sql("CREATE ROLE mailward LOGIN CREATEDB")

    def create(self, database: str) -> None:
        self.sql(f"CREATE DATABASE {database} OWNER mailward")

    def let_in_peers(self) -> None:
        """As Debian sets it up: users of the system, each as the role of that name. Our `sql` goes on."""
        rules = "local all postgres trust\nlocal all all peer\n"
        (self.folder / "cluster" / "pg_hba.conf").write_text(rules)
        self.folder.chmod(0o711)
        self.sql("SELECT pg_reload_conf()")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """As the superuser. Returns what psql prints."""
        done = subprocess.run(
            [_program("psql"), "-h", self.folder, "-U", "postgres", "-d", database, "-XAtqc", statement],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def stop(self) -> None:
        """As `systemctl stop`: open connections are broken off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def signal_all(self, number: signal.Signals) -> None:
        """To the server and all its processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            os.kill(pid, number)

    def remove(self) -> None:
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _wait(self) -> None:
        assert self._process is not None
        for _ in range(600):
            if self._process.poll() is not None:
                raise AssertionError(f"PostgreSQL ended: {(self.folder / 'log').read_text()}")
            # as root looks at it: the socket is there once it listens
            if self._run("pg_isready", "-q", "-h", self.folder, "-t", "30", check=False) == 0:
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL does not answer")

    def _run(self, program: str, *arguments: object, check: bool = True) -> int:
        done = subprocess.run(
            [_program(program), *map(str, arguments)],
            check=False,
            capture_output=True,
            user=_user(),
            extra_groups=[] if _user() else None,
            cwd="/",
        )
        if check and done.returncode:
            raise AssertionError(f"{program}: {done.stderr.decode()}")
        return done.returncode


def _program(name: str) -> str:
    """Of the newest version that is installed; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    if not found:
        raise AssertionError(f"PostgreSQL's {name} is missing: run scripts/test-needs")
    return str(found[-1])


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


def _die_with_us() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


SERVER = Server()
"""Of this process of pytest."""
