"""What was taken goes back when its request fails or is cut off before the answer."""

import asyncio

import pytest

from nuska.core.undoing import undone_on_failure


class Shelf:
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go_on = asyncio.Event()
        self.put_back = 0

    async def undo(self) -> None:
        self.begun.set()
        await self.let_go_on.wait()
        self.put_back += 1


async def test_what_goes_well_is_not_undone() -> None:
    shelf = Shelf()
    async with undone_on_failure(shelf.undo):
        await asyncio.sleep(0)
    assert not shelf.begun.is_set()


async def test_a_failure_undoes_once_and_is_told() -> None:
    shelf = Shelf()
    shelf.let_go_on.set()
    with pytest.raises(LookupError):
        async with undone_on_failure(shelf.undo):
            raise LookupError
    assert shelf.put_back == 1


async def test_who_is_cut_off_again_and_again_still_puts_everything_back() -> None:
    shelf = Shelf()

    async def take() -> None:
        async with undone_on_failure(shelf.undo):
            await asyncio.Event().wait()

    task = asyncio.create_task(take())
    await asyncio.sleep(0)
    task.cancel()
    await shelf.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shelf.let_go_on.set()
    async with asyncio.timeout(5):
        while not shelf.put_back:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0)
    assert shelf.put_back == 1
