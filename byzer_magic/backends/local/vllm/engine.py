"""A running vLLM engine: its processes, and the serving classes of `vllm serve` on top of it."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from byzer_magic.backends.base import PREFIX, Setup
from byzer_magic.backends.engine import adapters
from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.backends.local.vllm import params as vllm_params, versions as vllm_versions
from byzer_magic.capabilities import Capability
from byzer_magic.commands.secrets import Secret
from byzer_magic.local_models import installed
from byzer_magic.local_models.engine_facts import CPU, GPU, Distribution, EnginePackage
from byzer_magic.local_models.files import Weights

T = TypeVar("T")
GIB = 1024**3
LOOK_SECONDS = 0.5
"""Interval at which the engine is polled: vLLM has no event to wait for."""
CPU_CONTEXT = 4096
"""Tokens of context on a CPU when `max_model_len` is not given: the attention cache is the computer's own memory."""
SHARE = 0.9
"""The part of a GPU's memory that vLLM takes when `gpu_memory_utilization` is not given; its own default is 0.92."""
LEAST_CACHE = 64 * 1024**2
"""Bytes of the attention cache at least."""
FULL_ANSWERS = 4
"""Answers of full length that the attention cache on a CPU has room for, unless `kv_cache_memory_bytes` is given."""
UNBOUND = "nobind"
"""What VLLM_CPU_OMP_THREADS_BIND says where threads may run on any core."""
EAGER = True
"""Whether nothing is compiled when `enforce_eager` is not given, as the original has it: less memory, a quick start."""
IN_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""The executor that computes in the engine's own process. For its short name, `uni`, vLLM takes another process on a
CPU, which can be bound to cores: that one imports vLLM again, and the engine's process spins while it waits for it."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running engine."""

    engine: Any
    chat: Callable[[dict[str, Any]], Any]
    """Takes an OpenAI body, returns an async generator of server-sent events."""
    capabilities: frozenset[Capability]
    options: frozenset[str]
    """Request fields that vLLM knows."""
    refusals: tuple[type[Exception], ...]
    """What vLLM raises for an invalid request."""
    load_adapter: Callable[[str, str], Any]
    """Takes a name and the folder of a LoRA adapter, and returns when requests can have that name as their model."""

    async def embedding(self, text: str, dimensions: int | None, request_id: str) -> tuple[bytes, int]:
        """Return the embedding of a text as little-endian float32, and the text's tokens."""
        from vllm import PoolingParams

        pooling = PoolingParams(task="embed", dimensions=dimensions)
        async for output in self.engine.encode(text, pooling, request_id):
            final = output
        return final.outputs.data.float().numpy().astype("<f4").tobytes(), len(final.prompt_token_ids)


def devices(package: Distribution) -> tuple[str, ...]:
    """Return the devices of a build: CPUs or GPUs, which only its name or version shows."""
    return (CPU,) if package.name == "vllm-cpu" or "cpu" in package.version else (GPU,)


def on_gpu(setup: Setup) -> bool:
    """Return whether a worker computes on GPUs: some are reserved for it, and the installed build is for them."""
    return setup.gpus > 0 and GPU in {device for package in installed.find((PACKAGE,)) for device in package.devices}


PACKAGE = EnginePackage(
    module="vllm",
    distributions=("vllm", "vllm-cpu"),
    devices=devices,
    avx2=True,
    oldest=vllm_versions.OLDEST,
    newest=vllm_versions.NEWEST,
    files=vllm_versions.FILES,
)


def arguments(setup: Setup, weights: Weights) -> dict[str, Any]:
    """Return the engine's arguments: those that are given, and defaults that fit this machine."""
    given = {
        name.removeprefix(PREFIX): vllm_params.checked(name.removeprefix(PREFIX), _plain(value))
        for name, value in setup.params.items()
        if name.startswith(PREFIX) and name != f"{PREFIX}{adapters.ALLOWED}"
    }
    defaults: dict[str, Any] = {
        "model": str(weights.path),
        "served_model_name": [setup.model],
        "enforce_eager": EAGER,
        "max_num_seqs": max(1, setup.concurrency),
        "disable_log_stats": True,
        "tool_strict_level": "parameter",  # the arguments of tools follow their schema, as users expect
    }
    if setup.gpus > 1:
        defaults["tensor_parallel_size"] = max(1, int(setup.gpus) // int(given.get("pipeline_parallel_size") or 1))
        defaults["distributed_executor_backend"] = "mp"  # the GPUs are on this node, and this process has them all
    elif not on_gpu(setup) and _is_single(given):
        defaults["distributed_executor_backend"] = IN_PROCESS
    return defaults | (_on_gpus(setup) if on_gpu(setup) else _on_a_cpu(weights, given)) | given


def _is_single(given: Mapping[str, Any]) -> bool:
    """Return whether the engine on a CPU has one rank, which no variable of the user binds to cores."""
    ranks = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    unbound = os.environ.get("VLLM_CPU_OMP_THREADS_BIND", UNBOUND) == UNBOUND
    return unbound and all(int(given.get(name) or 1) == 1 for name in ranks)


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def _on_gpus(setup: Setup) -> dict[str, Any]:
    """Return defaults for GPUs: of a shared one, as much of its memory as is reserved of it."""
    return {"gpu_memory_utilization": round(SHARE * min(1.0, setup.gpus), 4)}


def _on_a_cpu(weights: Weights, given: dict[str, Any]) -> dict[str, Any]:
    """Return defaults for a machine without GPU: float32 unless it computes in bfloat16, and a bounded cache."""
    dtype = given.get("dtype") or ("auto" if _fast_bfloat16() else "float32")
    length = given.get("max_model_len") or min(CPU_CONTEXT, weights.context or CPU_CONTEXT)
    room = cache_bytes(weights.config, length, 4 if "32" in dtype else 2) * FULL_ANSWERS
    shorten = (weights.context or CPU_CONTEXT + 1) > CPU_CONTEXT  # else vLLM finds the model's own length
    return {"dtype": dtype, "kv_cache_memory_bytes": room} | ({"max_model_len": length} if shorten else {})


def _fast_bfloat16() -> bool:
    """Return whether the CPU multiplies bfloat16 itself; others take five times as long with it as with float32."""
    try:
        return any(flag in Path("/proc/cpuinfo").read_text(encoding="utf-8") for flag in ("avx512_bf16", "amx_bf16"))
    except OSError:
        return False


def cache_bytes(config: dict[str, Any], tokens: int, element: int) -> int:
    """Return the bytes of the attention cache for `tokens`, at least 64 MiB.

    Keys and values, of each layer, of each key-value head.
    """
    text = config.get("text_config", config)
    heads = text.get("num_attention_heads") or 32
    size = text.get("head_dim") or (text.get("hidden_size") or 4096) // heads
    each = 2 * (text.get("num_hidden_layers") or 32) * (text.get("num_key_value_heads") or heads) * size * element
    return max(LEAST_CACHE, math.ceil(each * tokens))


def set_environment(threads: int, setup: Setup) -> None:
    """Set what vLLM and PyTorch read from the environment, before they are imported.

    On a CPU, vLLM compiles a few functions of several ranks in eager mode, too: with g++, which takes each rank 10 s.
    """
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a fork of a Ray worker keeps its sockets open
    ranks = max(1, int(setup.params.get(f"{PREFIX}tensor_parallel_size") or setup.gpus))
    if not on_gpu(setup):
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", UNBOUND if ranks == 1 else cores_of(ranks))
        if str(setup.params.get(f"{PREFIX}enforce_eager", EAGER)).lower() in ("true", "1"):
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    os.environ["OMP_NUM_THREADS"] = str(threads)


def cores_of(ranks: int) -> str:
    """Return the cores of each of an engine's processes, in the format that vLLM expects on a CPU: ``0,1|2,3``."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    share = max(1, len(cores) // ranks)
    each = [cores[(rank * share) % len(cores) :][:share] for rank in range(ranks)]
    return "|".join(",".join(map(str, part)) for part in each)


def load_package() -> None:
    """Import what takes long."""
    for name in vllm_versions.MODULES:
        vllm_versions.found(name)


async def start(setup: Setup, weights: Weights) -> Running:
    """Start the engine, and the serving classes on top of it.

    Raises:
        Exception: whatever vLLM raises.
    """
    from starlette.datastructures import State

    their: Any = SimpleNamespace(**{name: vllm_versions.found(name) for name in vllm_versions.MODULES})
    given = arguments(setup, weights)
    parser = their.make_arg_parser(their.FlexibleArgumentParser())
    args = parser.parse_args([])
    readers = {action.dest: action.type for action in parser._actions}
    for name, value in given.items():  # vLLM's own readers turn JSON objects into its configuration classes
        read = readers.get(name) if isinstance(value, dict) else None
        setattr(args, name, read(json.dumps(value)) if callable(read) else value)
    engine = await asyncio.to_thread(their.AsyncLLM.from_engine_args, their.AsyncEngineArgs.from_cli_args(args))
    try:
        tasks = await _unless_dead(engine, engine.get_supported_tasks())
        if "tool_call_parser" not in given and "generate" in tasks:
            args.tool_call_parser = tool_parser(engine)
        args.enable_auto_tool_choice = given.get("enable_auto_tool_choice", bool(args.tool_call_parser))
        state = State()
        await _unless_dead(engine, their.init_app_state(engine, state, args, tasks))
    except BaseException:  # a cancelled start ends the engine's processes, too
        engine.shutdown(0)
        raise
    serving: Any = getattr(state, "openai_serving_chat", None)

    async def chat(body: dict[str, Any]) -> AsyncGenerator[str, None]:
        answer = await serving.create_chat_completion(their.ChatCompletionRequest(**body), None)
        if hasattr(answer, "error"):
            raise ErrorResponse({"message": answer.error.message, "code": answer.error.code})
        stream: AsyncGenerator[str, None] = answer
        return stream

    async def load_adapter(name: str, path: str) -> None:
        adapter = SimpleNamespace(lora_name=name, lora_path=path, load_inplace=False, is_3d_lora_weight=False)
        answer = await state.openai_serving_models.load_lora_adapter(adapter)
        if hasattr(answer, "error"):
            raise ErrorResponse({"message": answer.error.message, "code": 400})  # whatever vLLM says: it is the folder

    return Running(
        engine=engine,
        chat=chat,
        load_adapter=load_adapter,
        capabilities=_capabilities(engine, tasks, serving),
        options=frozenset(their.ChatCompletionRequest.model_fields),
        refusals=vllm_versions.refusals(),
    )


async def _unless_dead(engine: Any, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which would wait forever when the engine's process has died."""
    asking = asyncio.ensure_future(work)
    while not (await asyncio.wait([asking], timeout=LOOK_SECONDS))[0]:
        if engine.errored:
            asking.cancel()
            raise RuntimeError("Engine core initialization failed: its process has died.")
    return await asking


TOOL_MARKS = (
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<｜tool▁calls▁begin｜>", "deepseek_v3"),
    ("<tool_call>", "hermes"),
)
"""The words of a chat template that instruct a model how to call tools, and vLLM's parser for that form."""


def tool_parser(engine: Any) -> str:
    """Return the parser for tool calls that fits the model's chat template (one named tool works with any)."""
    template = getattr(engine.get_tokenizer(), "chat_template", None) or ""
    return next((parser for mark, parser in TOOL_MARKS if mark in str(template)), "hermes")


def _capabilities(engine: Any, tasks: tuple[str, ...], serving: Any) -> frozenset[Capability]:
    """Return what the loaded model can do, by the tasks that vLLM supports with it."""
    found = set()
    if "generate" in tasks and serving is not None:
        found |= {Capability.CHAT, Capability.TOOLS}
        if engine.model_config.is_multimodal_model:
            found.add(Capability.VISION)
    if "embed" in tasks:
        found.add(Capability.EMBED)
    return frozenset(found)
