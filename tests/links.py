"""The agent's own link in the test's process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pi_agent.link import Link


@asynccontextmanager
async def kept_up(link: Link) -> AsyncIterator[Link]:
    """Runs until the block ends; it may be cut meanwhile, but must not give up."""
    task = asyncio.create_task(link.run())
    try:
        yield link
        assert not task.done(), "the link gave up"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
