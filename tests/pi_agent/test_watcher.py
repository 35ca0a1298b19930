from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pi_agent import watcher
from pi_agent.machine import Machine
from pi_agent.registration import Registration
from pi_agent.watcher import Watcher
from tests.pi_agent.machines import CH340, Tree, pi4
from tests.pi_agent.server import until

PROMISED_S = 2.0


def in_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def wrapper(**fixtures: object) -> None:
        asyncio.run(test(**fixtures))

    return wrapper


@asynccontextmanager
async def watching(look: Callable[[], Registration]) -> AsyncIterator[list[Registration]]:
    seen: list[Registration] = []
    task = asyncio.create_task(Watcher(look, seen.append).run())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@in_loop
async def test_what_is_plugged_in_and_out_is_told_in_time(tmp_path: Path) -> None:
    tree = pi4(tmp_path)
    async with watching(Machine(roots=tree.roots).registration) as seen:
        await until(lambda: len(seen) == 1)
        assert len(seen[0].ports) == 3
        tree.plug("ttyUSB7", "1-1.4", CH340)
        await until(lambda: len(seen) == 2)
        assert watcher.PERIOD_S < PROMISED_S
        assert [port.device for port in seen[1].ports][-1] == tree.dev("ttyUSB7")
        (tmp_path / "dev/ttyUSB7").unlink()
        await until(lambda: len(seen) == 3)
        assert seen[2].ports == seen[0].ports


@in_loop
async def test_a_port_is_told_once_udev_has_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "PERIOD_S", 0.01)
    monkeypatch.setattr(watcher, "SETTLE_S", 0.05)
    tree = Tree(tmp_path)
    looks = 0

    def look() -> Registration:
        nonlocal looks
        looks += 1
        if looks == 4:
            tree.uart("ttyUSB0", 4)
        if looks == 5:
            tree.link("dev/serial/by-path/socket-1", "dev/ttyUSB0")
        return Machine(roots=tree.roots).registration()

    async with watching(look) as seen:
        await until(lambda: len(seen) == 2)
        assert [port.name for port in seen[1].ports] == [tree.dev("serial/by-path/socket-1")]


@in_loop
async def test_time_alone_is_no_change_and_a_failed_look_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watcher, "PERIOD_S", 0.01)
    monkeypatch.setattr(watcher, "SETTLE_S", 0.01)
    first = Machine(roots=pi4(tmp_path).roots).registration()
    looks = 0

    def look() -> Registration:
        nonlocal looks
        looks += 1
        if 10 < looks < 20:
            raise OSError("no netlink")
        return replace(first, uptime_s=looks, hostname="renamed" if looks > 30 else "pi")

    with caplog.at_level(logging.WARNING, "pi_agent.watcher"):
        async with watching(look) as seen:
            await until(lambda: looks > 40)
    assert [each.hostname for each in seen] == ["pi", "renamed"]
    assert [record.getMessage() for record in caplog.records] == ["cannot look at this machine: no netlink"]
