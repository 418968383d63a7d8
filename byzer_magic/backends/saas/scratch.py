"""Scratch."""

from byzer_magic.backends.base import Backend, Info
from byzer_magic.types import ChatChunk, Usage
import asyncio


class Scratch(Backend):
    info = Info(kind="saas/scratch", title="x", params=())

    @classmethod
    async def open(cls, setup, report):
        report("opening", 0.5)
        return cls()

    async def close(self):
        pass

    async def chat(self, request):
        for i in range(50 if "long" in str(request.messages[-1].content) else 3):
            yield ChatChunk(f"w{i} ")
            await asyncio.sleep(0.05)
        yield ChatChunk(finish="stop", usage=Usage(3, 3))


BACKEND = Scratch
