"""Ray's agent for runtime environments, started when something uses one.

Deployments have no runtime environments, but tasks of other programs that use the local Ray may. The process that holds
that Ray listens in the agent's place; with the first request it starts the agent, at another port, and passes on what
arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess

from byzer_magic.log import get_logger
from byzer_magic.runtime.loop import LOOP

HOST, PORT = "--node-ip-address", "--runtime-env-agent-port"
"""The agent's options for where it listens."""
START_SECONDS = 60.0
"""How long it may take until it listens."""
RETRY_SECONDS = 0.1
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REFUSE_SECONDS = 5.0
BLOCK_BYTES = 64 * 1024

log = get_logger("on_demand")


class Agent:
    """Listens in the place of the agent, and starts it when the first request arrives.

    Args:
        command: the agent's, with the address at which the raylet expects it.
        port: where it is to listen instead.
    """

    def __init__(self, command: list[str], port: int) -> None:
        options = dict(word.split("=", 1) for word in command if "=" in word)
        self._host, self._port = options[HOST], port
        self.public = int(options[PORT])
        """The port at which the raylet expects it."""
        self._command = [f"{PORT}={port}" if word.startswith(f"{PORT}=") else word for word in command]
        self._process: subprocess.Popen[bytes] | None = None

    def listen(self) -> None:
        """Listen, on this process's loop.

        Raises:
            OSError: something else listens there.
        """
        LOOP.run(self._listen())

    def stop(self) -> None:
        """End the agent; the next request starts it again."""
        if process := self._process:
            process.kill()
            process.communicate()  # closes the pipe
            self._process = None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, self._host, self.public)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            agent_reader, agent_writer = await self._connected()
        except OSError as err:
            log.error("the agent for runtime environments does not start: %s", err)  # noqa: TRY400 - says it all
            await _refuse(reader, writer)
            return
        await asyncio.gather(_copy(reader, agent_writer), _copy(agent_reader, writer))
        agent_writer.close()
        writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to the agent, started unless it runs.

        Raises:
            OSError: it has ended, or does not listen in time.
        """
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        process = self._process = self._process or self._start()
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(ConnectionError):  # it does not listen yet
                    return await asyncio.open_connection(self._host, self._port)
                if (code := process.poll()) is not None:
                    raise OSError(f"exit code {code}")
                await asyncio.sleep(RETRY_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "RAY_RAYLET_PID": str(os.getpid())}
        # the agent watches this pipe and exits when its parent does
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment)  # noqa: S603 - Ray's own


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request with an error; without an answer, the raylet would try again, and end itself some time later."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(REFUSE_SECONDS):
            await reader.read(BLOCK_BYTES)
            writer.write(REFUSAL)
            writer.write_eof()
            await reader.read()
    writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all bytes, and then the end."""
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        return
    writer.close()  # the other side learns that this one is gone
