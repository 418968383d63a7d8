"""What `--load_balance session` saves: time to first token of chats over two llama.cpp workers, beside `lru`.

`python benchmarks/sessions.py` deploys SmolLM2 once for each policy, with two workers. Chats with long system prompts
have their turns in an order that is the same for both, one request at a time; the first turn of a chat is not counted.
The policies alternate, so that what else the machine does meets both.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tables import machine
from ways import private_ray, say

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests.models finds the model

POLICIES = ("session", "lru")
CHATS, TURNS, ROUNDS = 4, 4, 3
WORDS = 500
"""Of each system prompt."""
NOUNS = ("king", "cat", "river", "stone", "garden", "letter", "window", "bridge", "winter", "lantern")


def spec(policy: str) -> Any:
    """Return what is deployed."""
    from byzer_magic.commands.spec import DeploySpec
    from tests.models.smollm2 import smollm2_gguf

    return DeploySpec(
        model=policy, infer_backend="llama_cpp", model_path=str(smollm2_gguf()), num_workers=2, worker_concurrency=2,
        load_balance=policy, cpus_per_worker=0.001,
        infer_params={"driver": "xllamacpp", "n_ctx": "4096", "temperature": "0", "max_tokens": "8"},
    )  # fmt: skip


async def first_token(manager: Any, policy: str, messages: list[Any]) -> tuple[float, str]:
    """Return the seconds to the first token of a turn, and its whole answer."""
    from byzer_magic.types import ChatRequest

    started, first, answer = time.perf_counter(), 0.0, ""
    async for item in manager.ask(policy, ChatRequest(messages=messages)):
        if text := getattr(item, "text", ""):
            first = first or time.perf_counter() - started
            answer += text
    return first, answer


async def round_of(manager: Any, policy: str, seed: int) -> list[float]:
    """Return the times to the first token of all turns but the first ones, of new chats."""
    from byzer_magic.types import Message

    chance = random.Random(seed)
    chats = [[Message("system", f"Chat {seed}: " + " ".join(chance.choices(NOUNS, k=WORDS)))] for _ in range(CHATS)]
    order = [number for number in range(CHATS) for _ in range(TURNS)]
    chance.shuffle(order)
    times = []
    for number in order:
        chat = chats[number]
        begins = len(chat) == 1
        chat.append(Message("user", f"Tell me about chat {number}: the {chance.choice(NOUNS)}."))
        seconds, answer = await first_token(manager, policy, chat)
        chat.append(Message("assistant", answer))
        if not begins:
            times.append(seconds)
    return times


def main() -> None:
    """Measure both policies in turns, and print."""
    started, before = time.time(), os.getloadavg()[0]
    times: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    with private_ray() as manager:
        for policy in POLICIES:
            say(f"{policy}: deploying")
            list(manager.iterate(manager.deploy(manager.plan(spec(policy)))))
        for seed in range(ROUNDS):
            for policy in POLICIES:
                say(f"{policy}: round {seed + 1} of {ROUNDS}")
                times[policy] += manager.run(round_of(manager, policy, seed))
    for policy, found in times.items():
        median, mean = statistics.median(found) * 1000, statistics.mean(found) * 1000
        print(f"{policy:8} time to first token, {len(found)} turns: median {median:6.0f} ms, mean {mean:6.0f} ms")
    ratio = statistics.mean(times["session"]) / statistics.mean(times["lru"])
    print(f"session / lru: {ratio:.2f} of the mean")
    print(machine(before, time.time() - started))


if __name__ == "__main__":
    main()
