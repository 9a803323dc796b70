"""Whether the user that the service runs as may use a folder: the doctor may be root, who may everything."""

import os
import pwd
import subprocess
from pathlib import Path

from mailward.config import Settings

_TESTS = {os.R_OK: "-r", os.W_OK: "-w", os.X_OK: "-x"}
_SECONDS = 5


def may_use(path: Path, needs: tuple[int, ...], user: int) -> bool:
    """`needs`: of os.R_OK, os.W_OK, os.X_OK. `user`: the number of the service's. Blocks, for a process of its own
    where we are root.
    """
    if os.geteuid() != 0 or user == 0:
        return all(os.access(path, need, effective_ids=True) for need in needs)
    return all(_as_user(path, _TESTS[need], user) for need in needs)


def service_user(settings: Settings) -> int | None:
    """To whom the data folder belongs; None where that is not known, or we cannot find what he finds.

    Raises PermissionError.
    """
    try:
        user = settings.data_path.stat().st_uid
    except FileNotFoundError:
        return None
    return user if os.geteuid() in (0, user) else None


def user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _as_user(path: Path, question: str, user: int) -> bool:
    try:
        known = pwd.getpwuid(user)
    except KeyError:
        group, groups = user, []
    else:
        group, groups = known.pw_gid, os.getgrouplist(known.pw_name, known.pw_gid)
    # a thread cannot become another user without the whole process
    asked = subprocess.run(
        ["/usr/bin/test", question, str(path)],
        user=user,
        group=group,
        extra_groups=groups,
        timeout=_SECONDS,
        check=False,
        cwd="/",
    )
    return asked.returncode == 0
