"""Whose address it is, asked by many at once."""

import asyncio

import pytest
from django.db import OperationalError

from mailward.ingest import addresses
from mailward.ingest.addresses import AddressBook, ReportAddress
from mailward.ingest.errors import StoreBusy

OURS = ReportAddress(1, None, None, {"example.test": 1})


async def test_many_who_come_at_once_are_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, book = [], AddressBook()

    async def in_store(_function: object, token: str) -> ReportAddress:
        asked.append(token)
        await asyncio.sleep(0)
        return OURS

    monkeypatch.setattr(addresses, "in_store", in_store)
    found = await asyncio.gather(*(book.find(token) for token in ["one", "ONE", "other"] * 20))
    assert set(map(id, found)) == {id(OURS)}
    assert sorted(asked) == ["one", "other"]
    await book.find("one")
    assert len(asked) == 2


async def test_who_hangs_up_leaves_the_others_their_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer: asyncio.Future[ReportAddress] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(addresses, "in_store", lambda *_: answer)
    book = AddressBook()
    first, second = (asyncio.create_task(book.find("one")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    answer.set_result(OURS)
    assert await second is OURS


async def test_a_database_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_store(*_: object) -> ReportAddress:
        raise OperationalError("locked")

    monkeypatch.setattr(addresses, "in_store", in_store)
    book = AddressBook()
    outcomes = await asyncio.gather(*(book.find("one") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [StoreBusy] * 3
    monkeypatch.undo()
    monkeypatch.setattr(addresses, "in_store", lambda *_: asyncio.sleep(0, OURS))
    assert await book.find("one") is OURS
