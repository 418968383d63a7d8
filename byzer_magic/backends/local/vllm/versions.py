"""Which versions of vLLM work, and where each keeps what is used of it; found without importing vLLM.

vLLM moves its server's modules between versions: 0.29 made `entrypoints/launchers`, 0.33 moved the arguments on.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

OLDEST, NEWEST = "0.26", "0.33"
"""The first version that works, and the latest whose modules are known."""
MODULES = {
    "init_app_state": ("vllm.entrypoints.launchers.api_server.app_state", "vllm.entrypoints.openai.api_server"),
    "make_arg_parser": (
        "vllm.entrypoints.common.cli_args",
        "vllm.entrypoints.launchers.cli_args",
        "vllm.entrypoints.openai.cli_args",
    ),
    "ChatCompletionRequest": ("vllm.entrypoints.openai.chat_completion.protocol",),
    "FlexibleArgumentParser": ("vllm.utils.argparse_utils",),
    "AsyncEngineArgs": ("vllm.engine.arg_utils",),
    "AsyncLLM": ("vllm.v1.engine.async_llm",),
}
"""Where each name is, in the newest version first: of each row, one module must exist."""
FILES = tuple(tuple(f"{module.partition('.')[2].replace('.', '/')}.py" for module in row) for row in MODULES.values())
"""The same as files of the package."""


def found(name: str) -> Any:
    """Return one of `MODULES` from the installed vLLM, importing its module.

    Raises:
        ImportError: this version has none of the modules.
    """
    root = Path(str(importlib.util.find_spec("vllm").origin)).parent  # type: ignore[union-attr]  # it was required
    for module in MODULES[name]:
        if (root / f"{module.partition('.')[2].replace('.', '/')}.py").is_file():
            return getattr(importlib.import_module(module), name)
    raise ImportError(name)


def refusals() -> tuple[type[Exception], ...]:
    """Return what vLLM raises for an invalid request; before 0.27 its errors had no common class."""
    exceptions: Any = importlib.import_module("vllm.exceptions")
    names = ("VLLMClientError", "VLLMValidationError", "VLLMNotFoundError", "VLLMUnprocessableEntityError")
    own = tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))
    return (*own, ValueError, TypeError, NotImplementedError)
