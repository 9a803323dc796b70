"""The public keys of signatures, from DNS, before `core.dkim.verify` runs."""

import asyncio
from collections.abc import Iterable, Mapping

from mailward.config import Dns
from mailward.core.dkim import KeyAnswer, KeyStatus, Signature
from mailward.net.guard import Guard
from mailward.net.resolver import Answer, CachingResolver, Resolver, Status

DEADLINE_SECONDS = 5.0
_MAX_QUESTIONS_AT_ONCE = 100


def make_key_resolver(dns: Dns) -> Resolver:
    """A resolver that remembers: many reports share few keys."""
    return CachingResolver(
        dns.resolvers,
        dns.authoritative_override,
        timeout_seconds=DEADLINE_SECONDS,
        guard=Guard(dns.allow_private_addresses),
    )


class KeyFinder:
    """Asks for the keys of signatures: with a deadline, and not for too many at once."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._slots = asyncio.Semaphore(_MAX_QUESTIONS_AT_ONCE)

    async def find(self, signatures: Iterable[Signature]) -> Mapping[str, KeyAnswer]:
        """The answers by key name, for those signatures that a key could make good."""
        names = {
            signature.key_name
            for signature in signatures
            if signature.aligned and not signature.problem and not signature.has_length
        }
        answers = await asyncio.gather(*(self._ask(name) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _ask(self, name: str) -> KeyAnswer:
        try:
            async with asyncio.timeout(2 * DEADLINE_SECONDS), self._slots:
                answer = await self._resolver.txt(name)
        except TimeoutError:
            return KeyAnswer(KeyStatus.TEMPORARY, reason="too many questions are waiting")
        return _key_answer(answer)


def _key_answer(answer: Answer[bytes]) -> KeyAnswer:
    if answer.found:
        return KeyAnswer(KeyStatus.FOUND, answer.records)
    if answer.status is Status.FAILED:
        return KeyAnswer(KeyStatus.TEMPORARY, reason=answer.reason)
    return KeyAnswer(KeyStatus.GONE)
