"""Postfix's own programs, asked for what they know: postconf, postmulti. They only read."""

import asyncio
from collections.abc import Sequence

from mailward.core.postfix.maincf import Instance, read_overrides, read_parameters, read_services

RUN_SECONDS = 20.0
MAX_OUTPUT = 64 * 1024 * 1024
_DEFAULT_DIRECTORY = "/etc/postfix"


class PostfixError(Exception):
    """A program of Postfix's is not there or does not do its work; the text says which and why."""

    code = "postfix"


class ProgramFailed(PostfixError):
    """It ran, and says by its exit status that it has not done what it was asked."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


async def run_program(*words: str, stdin: bytes | None = None) -> bytes:
    """What it writes to standard output. Raises PostfixError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise PostfixError(f"{words[0]}: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(RUN_SECONDS):
            output, errors = await process.communicate(stdin)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise PostfixError(f"{words[0]} did not end within {RUN_SECONDS:.0f} seconds") from error
    if process.returncode:
        text = errors.decode("utf-8", "replace").strip()[-300:]
        reason = f"{' '.join(words)}: {text or f'exit status {process.returncode}'}"
        raise ProgramFailed(reason, process.returncode)
    if len(output) > MAX_OUTPUT:
        raise PostfixError(f"{words[0]} says more than {MAX_OUTPUT} bytes")
    return output


async def list_directories(postmulti: str = "postmulti") -> list[str]:
    """The configuration directories of all instances; the usual one where postmulti tells nothing."""
    try:
        output = await run_program(postmulti, "-l")
    except PostfixError:
        return [_DEFAULT_DIRECTORY]
    # name, group, enabled, directory
    directories = [words[3] for line in output.decode().splitlines() if len(words := line.split()) >= 4]
    return directories or [_DEFAULT_DIRECTORY]


async def read_instance(directory: str, postconf: str = "postconf") -> Instance:
    """Raises PostfixError."""
    command: Sequence[str] = (postconf, "-c", directory)
    parameters, services, overrides = await asyncio.gather(
        run_program(*command, "-x"), run_program(*command, "-M"), run_program(*command, "-P")
    )
    own = read_overrides(overrides.decode("utf-8", "replace"))
    values = read_parameters(parameters.decode("utf-8", "replace"))
    return Instance(
        values | {"config_directory": directory}, read_services(services.decode("utf-8", "replace"), own)
    )
