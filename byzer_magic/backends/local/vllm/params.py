"""vLLM's own arguments as our parameters, read from the installed package's source.

Importing vLLM takes 10 to 20 s, and a notebook must not do it to check a line. Its arguments are the annotated fields
of a few dataclasses, so the source has all that a check needs: names, types, choices.
https://docs.vllm.ai/en/latest/configuration/engine_args/
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from byzer_magic.backends.base import PREFIX, Param
from byzer_magic.backends.engine import adapters
from byzer_magic.commands.options import is_secret_name
from byzer_magic.errors import BadParameter, suggest
from byzer_magic.i18n import lazy_gettext as _, listed

SOURCES = (
    ("engine/arg_utils.py", ("EngineArgs", "AsyncEngineArgs")),
    *(
        (f"entrypoints/{folder}/cli_args.py", ("BaseFrontendArgs", "FrontendArgs"))
        for folder in ("common", "launchers", "openai")  # from vLLM 0.33 on, from 0.29 on, before
    ),
)
"""Files of vLLM, and the classes in them whose fields are arguments."""
OURS = frozenset({"model", "served_model_name", "device_ids"})
"""Arguments that `--model_path`, `--model` and Ray decide."""
SAMPLING = {
    "temperature": "float", "top_p": "float", "top_k": "int", "min_p": "float", "max_tokens": "int",
    "repetition_penalty": "float", "frequency_penalty": "float", "presence_penalty": "float", "stop": "text",
}  # fmt: skip
"""Request fields that a deployment may set for all of its requests."""

USUAL = {
    "max_model_len": ("int", _("context length: prompt and response together, in tokens (default: the model's)")),
    "gpu_memory_utilization": (
        "float",
        _("fraction of the GPU memory that the engine takes (default 0.9, or 0.9 x --gpus_per_worker of a shared GPU)"),
    ),
    "enforce_eager": ("bool", _("no CUDA graphs and no compilation: starts sooner, answers slower (default true)")),
    "trust_remote_code": ("bool", _("run Python code that comes with the model (default false)")),
    "tensor_parallel_size": ("int", _("GPUs that share the model (default --gpus_per_worker)")),
    "dtype": ("text", _("data type of the weights: auto, float16, bfloat16, float32")),
    "kv_cache_memory_bytes": ("int", _("size of the KV cache, in bytes")),
    "quantization": ("text", _("quantization of the weights (awq, gptq, fp8, ...)")),
    "tool_call_parser": ("text", _("parser for tool calls (hermes, llama3_json, ...)")),
    "reasoning_parser": ("text", _("parser for reasoning (deepseek_r1, qwen3, ...)")),
    "chat_template": ("text", _("chat template: a file, or the template itself")),
}
"""The most common arguments, with their types: those that the reference page shows."""
_EACH = _("default of each request")
_SCALARS = {"int": "int", "float": "float", "bool": "bool", "str": "text"}
_LITERAL = re.compile(r"^(\w+)\s*(?::\s*TypeAlias\s*)?=\s*Literal\[", re.MULTILINE)


@functools.cache
def params() -> tuple[Param, ...]:
    """Return every argument of the installed vLLM as a parameter (none when it is not installed)."""
    root = _package()
    fields = dict(_fields(root)) if root else {}
    known = [
        Param(
            name=f"{PREFIX}{name}",
            aliases=(name,),
            kind=_kind(annotation),
            help=USUAL.get(name, ("", _("see vLLM's documentation")))[1],
            secret=is_secret_name(name),
        )
        for name, annotation in fields.items()
        if not name.startswith("_") and name not in OURS
    ]
    sampling = [Param(name=name, kind=kind, help=_EACH) for name, kind in SAMPLING.items()]
    return (*known, adapters.ALLOWED_PARAM, *(param for param in sampling if param.name not in fields))


def usual() -> tuple[Param, ...]:
    """Return the parameters that are documented here, the same for every version of vLLM."""
    engine = (
        Param(name=f"{PREFIX}{name}", aliases=(name,), kind=kind, help=text) for name, (kind, text) in USUAL.items()
    )
    return (
        *engine,
        adapters.ALLOWED_PARAM,
        *(Param(name=name, kind=kind, help=_EACH) for name, kind in SAMPLING.items()),
    )


_AT_LEAST = frozenset({"max_lora_rank"})
"""Arguments with a few numbers as their values, where a larger one than was given does the same."""


@functools.cache
def choices(name: str) -> tuple[str | int, ...]:
    """Return the values that an argument may have, or nothing where any will do."""
    root = _package()
    annotation = dict(_fields(root)).get(name, "") if root else ""
    words = [word for word in re.findall(r"\w+", annotation) if word != "None"]
    if annotation.startswith("Literal["):
        return _literals(ast.parse(annotation, mode="eval").body)
    if root is None or len(words) != 1 or words[0] in _SCALARS:  # `X | str` takes any text
        return ()
    for file in sorted((root / "config").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if any(match[1] == words[0] for match in _LITERAL.finditer(text)):
            values = (_assigned(node, words[0]) for node in ast.parse(text).body)
            return next((_literals(value) for value in values if value is not None), ())
    return ()


def checked(name: str, value: Any) -> Any:
    """Return `value` as one of the argument's choices, where it has any.

    Raises:
        BadParameter: the value is not one of them.
    """
    allowed = {str(choice): choice for choice in choices(name)}
    if name in _AT_LEAST and str(value).isdecimal():
        larger = [choice for choice in allowed.values() if isinstance(choice, int) and choice >= int(value)]
        value = str(min(larger)) if larger else value
    if not isinstance(value, str) or not allowed or value in allowed:
        return allowed.get(str(value), value)
    raise BadParameter(
        _("{prefix}{name} is {value!r}, which vLLM does not support.", prefix=PREFIX, name=name, value=value),
        suggest(value, allowed, _("Use one of: {allowed}.", allowed=listed(allowed))),
    )


def _package() -> Path | None:
    spec = importlib.util.find_spec("vllm")
    return Path(spec.origin).parent if spec and spec.origin else None


def _fields(root: Path) -> Iterator[tuple[str, str]]:
    """Yield name and annotation of each argument."""
    for file, classes in SOURCES:
        if not (root / file).is_file():
            continue
        for node in ast.parse((root / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name in classes:
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        yield item.target.id, ast.unparse(item.annotation)


def _kind(annotation: str) -> str:
    """Return how text becomes a value of that annotation; what only a class can check stays text or JSON."""
    words = [word.strip() for word in annotation.strip("'\"").split("|") if word.strip() != "None"]
    if len(words) == 1 and words[0] in _SCALARS:
        return _SCALARS[words[0]]
    if any(re.match(r"(list|dict|set|tuple)\b", word) or word.endswith("Config") for word in words):
        return "json"
    return "float" if set(words) == {"int", "float"} else "text"


def _assigned(node: ast.stmt, name: str) -> ast.expr | None:
    """Return what a statement assigns to a name, if it does."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return node.value if any(isinstance(target, ast.Name) and target.id == name for target in targets) else None


def _literals(node: ast.expr) -> tuple[str | int, ...]:
    """Return the values of `Literal[...]`, or nothing when it refers to another type."""
    inner = node.slice if isinstance(node, ast.Subscript) else node
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    values = [item.value for item in items if isinstance(item, ast.Constant)]
    return tuple(value for value in values if isinstance(value, str | int)) if len(values) == len(items) else ()
