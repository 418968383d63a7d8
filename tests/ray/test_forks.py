"""Processes that are forked from one with deployments: by multiprocessing, whose default that is, and by os.fork."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.results import ChatResult
from tests.conftest import alive
from tests.ray.test_deploy import deploy, saas
from tests.servers.process import Process
from tests.waiting import eventually

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SLOW = "tokens:60@20 please"
"""A response of sixty pieces in three seconds."""
SECONDS = 60


def in_child(work: Callable[[], str]) -> str:
    """Return what `work` returns in a forked child, or its error."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.alarm(SECONDS)  # a child that hangs ends, and the test fails
        try:
            text = work()
        except BaseException:
            text = traceback.format_exc()
        os.write(write, text.encode())
        os.close(write)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    return text


def asked(number: int) -> str:
    return bz.model("m").chat(f"say {number}").text


def test_pool_of_forked_workers_asks_while_the_parent_streams(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    model = bz.model("m")
    expected = [model.chat(f"number {number}").text for number in range(8)]
    stream = model.stream(SLOW)
    first = next(stream).text
    with multiprocessing.get_context("fork").Pool(4) as pool:
        results: list[ChatResult] = pool.map(model.chat, [f"number {number}" for number in range(8)])
    assert [result.text for result in results] == expected
    assert len((first + "".join(chunk.text for chunk in stream)).split()) == 60, "nothing of the parent's was lost"
    assert model.chat("number 3").text == expected[3]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_model_can_be_sent_to_a_new_process(method: str, manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    model = bz.model("m")
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        results = list(executor.map(model.chat, ["one", "two"]))
    assert [result.text for result in results] == [model.chat("one").text, model.chat("two").text]


def test_pickled_model_has_no_secret(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    model = bz.model("m")
    model.chat("hello")
    token = manager.connection._links["m"]._dialer.endpoint.token  # type: ignore[union-attr]
    assert token.encode() not in pickle.dumps(model)


def test_forked_child_has_every_call_and_cannot_take_its_parents_response(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    model = bz.model("m")
    stream = model.stream(SLOW)
    first = next(stream).text

    def work() -> str:
        with pytest.raises(errors.RequestError, match="belongs to the parent"):
            next(stream)
        complete = "".join(chunk.text for chunk in bz.model("m").stream("one two"))
        nested = in_child(lambda: asked(7))
        return f"{model.chat('hello').text}|{complete}|{model.stat().model}|{nested}"

    answers = in_child(work)
    assert answers == f"{model.chat('hello').text}|{model.chat('one two').text}|m|{model.chat('say 7').text}"
    assert len((first + "".join(chunk.text for chunk in stream)).split()) == 60


EXITS = """
import os, sys
import byzer_magic as bz

bz.connect()
model = bz.model("m")
stream = model.stream("tokens:60@20 please")
first = next(stream).text
pid = os.fork()
if pid == 0:
    print(model.chat("in the child").text, file=sys.stderr)
    sys.exit(7)  # with all exit handlers that the parent has set, Ray's among them
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(len((first + "".join(chunk.text for chunk in stream)).split()), "pieces")
manager = bz.default_manager()
print(manager.run(manager.aliases()))
"""


def test_exit_of_a_forked_child_ends_nothing_of_its_parent(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    done = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == "7\n60 pieces\n['m']\n", done.stderr
    assert done.stderr.splitlines() == [bz.model("m").chat("in the child").text]


def test_forked_child_deploys_lists_and_undeploys(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))

    def work() -> str:
        deploy(manager, saas(provider, "n"))
        names = manager.run(manager.aliases())
        answer = bz.model("n").chat("hello").text
        bz.undeploy("n")
        return f"{names} {answer}"

    assert in_child(work) == "['m', 'n'] Echo: hello"
    assert manager.run(manager.aliases()) == ["m"]


def test_child_outlives_its_parent_and_holds_none_of_its_calls(manager: Manager, provider: Process) -> None:
    """The pool frees the slots of a parent that was killed, although its child runs on."""
    deploy(manager, saas(provider))
    code = (
        "import os, sys, time, byzer_magic as bz\n"
        "stream = bz.model('m').stream('tokens:6000@20')\n"
        "next(stream)\n"
        "if (pid := os.fork()) == 0: time.sleep(600); os._exit(0)\n"
        "print(pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert manager.run(manager.stat("m")).busy == 1
        parent.kill()
        parent.wait()
        assert eventually(lambda: manager.run(manager.stat("m")).busy == 0)
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.kill()
        parent.stdout.close()
