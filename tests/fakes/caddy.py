"""Debian's Caddy with the Caddyfile of docs/caddy.md, on loopback: ports and CA are others, all else is as written."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.pebble import Pebble

DOCUMENT = Path(__file__).parents[2] / "docs" / "caddy.md"


class Caddy:
    def __init__(
        self,
        folder: Path,
        pebble: Pebble,
        *,
        http_port: int,
        https_port: int,
        front_port: int,
        storage: Path,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, https_port
        found = re.search(r"```caddy\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
        assert found
        text, directories = re.subn(r"acme_ca \S+", f"acme_ca {pebble.directory.url}", found[1])
        text, places = re.subn(r"127\.0\.0\.1:8081", f"127.0.0.1:{front_port}", text)
        assert (directories, places) == (1, 2)
        own = (
            f"{{\n\tacme_ca_root {pebble.directory.ca_file}\n\tadmin off\n\tdefault_bind 127.0.0.1\n"
            f"\thttp_port {http_port}\n\thttps_port {https_port}\n\tstorage file_system {storage}\n"
        )
        (folder / "Caddyfile").write_text(text.replace("{\n", own, 1))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        program = shutil.which("caddy")
        if program is None:
            raise RuntimeError("caddy is missing: scripts/test-needs installs it")
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "run", "--config", str(self.folder / "Caddyfile"), "--adapter", "caddyfile"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(
        self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            finally:
                self._process.kill()
                self._process.wait()
