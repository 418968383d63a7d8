"""What a streaming answer costs the kernel: a 4,000-token answer through the real painter, in a separate kernel.

    python benchmarks/painting.py [--tokens 4000] [--rate 80] [--kind prose|code|math]

Prints the kernel's CPU seconds as a share of the time that the answer took, and how often it was painted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parent.parent
PROSE = """## Section {n}

Large language models are **served** from `workers`; each of them has a *slot* for every request, see
[the docs](https://example.org/{n}). The load is $\\rho = \\lambda / \\mu$, and the queue grows as

$$
L_q = \\frac{{\\rho^2}}{{1 - \\rho}}
$$

| worker | slots | busy |
|--------|------:|-----:|
| {n}    | 16    | 7    |

- the first point says `what`
- the second one says *why*

```python
def answer_{n}(prompt: str, limit: int = 10) -> str:
    # what the model says, cut at a limit
    return " ".join(word for word in prompt.split()[:limit])
```

"""
CODE = """    def method_{n}(self, value: int = {n}) -> str:
        # the value, told in words
        return f"value {{value}} of {{self.name!r}} is {{value * 3.14:.2f}}"

"""
MATH = "\\[ x_{{{n}}} = \\frac{{-b \\pm \\sqrt{{b^2 - 4ac}}}}{{2a}} + \\sum_{{i=1}}^{{n}} i^2 \\]\n\n"
CELL = """
import asyncio, itertools, json, re, resource, time
from types import SimpleNamespace
from byzer_magic.client.converse import Exchange
from byzer_magic.magics.show import output_for
from byzer_magic.types import ChatChunk, ChatRequest, Usage

def cpu():
    return (lambda used: used.ru_utime + used.ru_stime)(resource.getrusage(resource.RUSAGE_SELF))

async def ask(*_):
    began = time.perf_counter()
    for number, token in enumerate(tokens):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        yield ChatChunk(text=token)
    yield ChatChunk(finish="stop", usage=Usage(10, len(tokens)))

output = output_for(get_ipython())
before, began = cpu(), time.perf_counter()
result = output.answer(Exchange(SimpleNamespace(ask=ask), "m", ChatRequest(messages=[])), "markdown")
took = time.perf_counter() - began
print(json.dumps({"seconds": took, "cpu": cpu() - before, "complete": result.text == "".join(tokens)}))
"""


def tokens_of(kind: str, count: int) -> list[str]:
    """Return an answer of that many tokens of four characters, which is what English has."""
    parts = {"prose": PROSE, "code": CODE, "math": MATH}
    text = "```python\nclass Thing:\n" if kind == "code" else ""
    number = 0
    while len(text) < count * 4:
        number += 1
        text += parts[kind].format(n=number)
    return [text[at : at + 4] for at in range(0, count * 4, 4)]


def main() -> None:
    """Run it and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=80)
    parser.add_argument("--kind", choices=("prose", "code", "math"), default="prose")
    asked = parser.parse_args()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        tokens = tokens_of(asked.kind, asked.tokens)
        client.execute(f"tokens, rate = {tokens!r}, {asked.rate}")
        request = client.execute(CELL)
        paintings, sent, output = 0, 0, ""
        while True:
            message = client.get_iopub_msg(timeout=300)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind in ("display_data", "update_display_data"):
                paintings += 1
                sent += len(json.dumps(content["data"]))
            elif kind == "stream":
                output += content["text"]
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    found = json.loads(output.strip().splitlines()[-1])
    assert found["complete"]
    print(
        f"{asked.kind}: {asked.tokens} tokens in {found['seconds']:.1f} s; kernel's CPU {found['cpu']:.2f} s = "
        f"{found['cpu'] / found['seconds']:.1%}; {paintings} paintings, {sent / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
