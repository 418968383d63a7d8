"""Forked children of a process with a connection: theirs is another one, and the parent's goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.runtime import forks
from byzer_magic.runtime.loop import Loop
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import ChatChunk, ChatRequest, Media, Message
from tests.waiting import eventually

SECONDS = 60


class Asked:
    """A link to a server in this process, and ordinary code that uses it."""

    def __init__(self, folder: Path) -> None:
        self.prompts: list[str] = []
        self.running = 0
        self.server = Server({"chat": self.chat}, path=folder / "pool.sock", host="127.0.0.1", token="right")
        self.far = Loop()
        self.near = Loop()
        self.far.run(self.server.start(tcp=False))
        self.link = Link("m", self.find)

    async def find(self) -> protocol.Endpoint:
        return self.server.endpoint("node")

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        content = request.messages[0].content
        prompt = content if isinstance(content, str) else "media"
        self.prompts.append(prompt)
        self.running += 1
        try:
            for number in range(60_000 if prompt == "long" else 30):
                yield ChatChunk(f"{prompt} {number}\n")
                await asyncio.sleep(0.01)
        finally:
            self.running -= 1

    def stream(self, prompt: object) -> Iterator[ChatChunk]:
        request = ChatRequest(messages=[Message("user", prompt)])  # type: ignore[arg-type]  # a text or parts
        return self.near.iterate(self.link.stream("chat", request))

    def ask(self, prompt: object) -> str:
        return "".join(chunk.text for chunk in self.stream(prompt))


def complete(prompt: str) -> str:
    return "".join(f"{prompt} {number}\n" for number in range(30))


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    asked = Asked(tmp_path)
    yield asked
    asked.near.run(asked.link.close())
    asked.far.run(stopped(asked.server))


async def stopped(server: Server) -> None:
    server.stop()


class Child:
    """A forked child that runs `work`, and what that returns or raises."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(SECONDS)  # a child that hangs is ended by it
            try:
                text = work()
            except BaseException:
                text = traceback.format_exc()
            os.write(write, text.encode())
            os._exit(0)
        os.close(write)

    def result(self) -> str:
        with os.fdopen(self._read) as pipe:
            text = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == 0, f"the child hung: {text}"
        return text


def test_forked_child_and_parent_get_their_own_responses(asked: Asked) -> None:
    asked.ask("before")
    children = [Child(lambda number=number: asked.ask(f"child {number}")) for number in range(3)]  # type: ignore[misc]
    assert asked.ask("parent") == complete("parent")
    assert [child.result() for child in children] == [complete(f"child {number}") for number in range(3)]
    assert asked.ask("after") == complete("after")


def test_child_forked_during_a_response_of_the_parent_leaves_it_alone(asked: Asked) -> None:
    stream = asked.stream("parent")
    texts = [next(stream).text]

    def work() -> str:
        try:
            next(stream)
        except errors.RequestError as err:
            stream.close()  # type: ignore[attr-defined]  # a generator
            return f"{err.message} {asked.ask('child')}"
        return "it has the parent's"

    child = Child(work)
    texts += [chunk.text for chunk in stream]
    assert child.result() == f"This response belongs to the parent of this process. {complete('child')}"
    assert "".join(texts) == complete("parent")


def test_grandchild_gets_its_own_response(asked: Asked) -> None:
    asked.ask("before")

    def work() -> str:
        child = Child(lambda: asked.ask("grandchild"))
        return asked.ask("child") + child.result()

    assert Child(work).result() == complete("child") + complete("grandchild")
    assert asked.ask("after") == complete("after")


def test_child_forked_while_locks_are_held_can_use_them(asked: Asked) -> None:
    asked.ask("before")
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with asked.near._lock:
            held.set()
            enough.wait(SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = Child(lambda: asked.ask("child"))
    enough.set()
    thread.join()
    assert child.result() == complete("child")


def test_child_forked_by_one_thread_while_others_ask(asked: Asked) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.extend(asked.ask("thread") for _ in range(3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = [Child(lambda: asked.ask("child")) for _ in range(5)]
    for thread in threads:
        thread.join()
    assert [child.result() for child in children] == [complete("child")] * 5
    assert texts == [complete("thread")] * 12


def test_child_sends_attachments_again(asked: Asked) -> None:
    photo = [Media("image/png", b"x" * 3_000_000)]
    asked.ask(photo)
    assert Child(lambda: asked.ask(photo)).result() == complete("media")


def test_pool_sees_the_end_of_a_parent_whose_child_lives(asked: Asked) -> None:
    """The connection is the lease of its calls, and a child must not prolong it."""
    reads, write = os.pipe()

    def parent() -> str:
        stream = asked.near.iterate(asked.link.stream("chat", ChatRequest(messages=[Message("user", "long")])))
        next(stream)
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            os.read(reads, 1)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    child = Child(parent)
    os.waitpid(child.pid, 0)
    try:
        assert eventually(lambda: asked.prompts and not asked.running), "the response would take ten minutes more"
        assert asked.prompts == ["long"]
    finally:
        os.write(write, b"x")


def test_dropped_descriptor_reaches_nothing_and_stays_taken() -> None:
    near, far = socket.socketpair()

    def work() -> str:
        forks.drop([near.fileno(), -1])
        try:
            near.send(b"from the child")
        except OSError as err:
            return type(err).__name__
        return "sent"

    assert Child(work).result() == "OSError"
    near.send(b"from the parent")
    assert far.recv(100) == b"from the parent"
    near.close()
    far.close()
