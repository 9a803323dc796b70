"""What the lab needs of this machine; and how somebody who is not root gets what root has.

Root makes network namespaces as they are. Anybody else does it in a user namespace of his own, where the kernel and
/etc/subuid let him: the same command runs again in there, and takes itself for root.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mailward.lab.mta import SCRIPT, is_ready

_PACKAGES = {"ip": "iproute2", "mmdebstrap": "mmdebstrap", "newuidmap": "uidmap", "unshare": "util-linux"}
_TREES = "MAILWARD_TREES"
_ENTER = [
    "unshare",
    "--user",
    "--map-root-user",
    "--map-auto",
    "--mount",
    "--mount-proc",
    "--pid",
    "--fork",
    "--kill-child",
]
# `ip netns` keeps its names below /run, which is the machine's own; the shell stays, as process 1 that buries orphans
_INSIDE = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && "$@"; exit $?'


def missing(suites: Sequence[str]) -> str:
    """One sentence on what is missing and what brings it; empty: nothing is."""
    if importlib.util.find_spec("django") is None:
        return "The lab runs the platform, which is not installed: pip install 'mailward[platform]'"
    wanted = ["ip"] if all(is_ready(suite) for suite in suites) else ["ip", "mmdebstrap"]
    if os.geteuid() != 0:
        wanted += ["unshare", "newuidmap"]
    packages = [_PACKAGES[program] for program in wanted if shutil.which(program) is None]
    if packages:
        return f"The lab needs {' and '.join(packages)}: apt-get install -y {' '.join(packages)}"
    return "" if os.geteuid() == 0 else _missing_of_user()


def _missing_of_user() -> str:
    """What keeps somebody who is not root from a user namespace with the users that Postfix wants."""
    number = os.geteuid()
    names = {str(number), *(each.pw_name for each in pwd.getpwall() if each.pw_uid == number)}
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = file.read_text().splitlines() if file.exists() else []
        if not any(line.partition(":")[0] in names for line in lines):
            user = max(names)  # the name, where there is one: letters come after digits
            mend = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            return f"{file} has no numbers for {user}. Run it as root, or once, as root: {mend}"
    tried = subprocess.run([*_ENTER, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        said = tried.stderr.strip() or "unshare failed"
        return f"This machine allows no user namespaces ({said}). Run it as root."
    return ""


def keep_trees_at_home() -> None:
    """Who is not root keeps the Debian trees in his own cache."""
    if os.geteuid() != 0 and _TREES not in os.environ:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
        os.environ[_TREES] = f"{cache}/mailward"


def enter_user_namespace(suites: Sequence[str], arguments: Sequence[str]) -> NoReturn:
    """This process goes on as root of a user namespace, with a network of its own, from the beginning of `mailward`.

    The trees are made before, where the network still leads out. Exits where that fails.
    """
    for suite in suites:
        if not is_ready(suite):
            made = subprocess.run(
                [*_ENTER, "bash", str(SCRIPT), suite], stdout=subprocess.DEVNULL, check=False
            )
            if made.returncode:
                sys.exit(2)
    command = [*_ENTER, "--net", "sh", "-c", _INSIDE, "sh", sys.executable, "-m", "mailward", *arguments]
    os.execvp(command[0], command)  # noqa: S606 - a shell would be one process more
