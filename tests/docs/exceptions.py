"""The commands of the pages that the tests do not run, or only check, each with the reason."""

from __future__ import annotations

CLIENT = "needs packages that the tests have elsewhere; tests/gateway/clients runs it"
NOT_RUN = {
    "make ": "installs and runs everything; the targets are checked to exist",
    "pip install": "installs packages; the extras are checked to exist",
    "pip uninstall": "removes packages of the tests' own environment",
    "keyring set": "writes into the user's keyring; tests/unit/commands covers keyring:SERVICE/NAME",
    "chmod 600": "the file is in the user's home folder",
    "byzerllm shutdown": "would stop the Ray of all tests; tests/ray/test_connect.py runs it",
    "byzerllm serve --host": "serves until Ctrl-C, and needs a certificate; tests/gateway starts it",
    "from langchain_anthropic": CLIENT,
    "from llama_index": CLIENT,
    "import litellm": CLIENT,
    "import instructor": CLIENT,
    "from pydantic_ai": CLIENT,
    "%load_ext jupyter_ai": CLIENT,
    "BYZER_REPLAY=": "runs a whole notebook; tests/kernel/test_replay.py does so",
    "import ray": "`auto` may be another Ray that runs beside that of the tests; tests/ray/test_map.py maps a Dataset",
    "byzerllm connect --ray_address": "needs a second machine; tests/ray/test_two_nodes.py connects to a node",
}
"""How a command begins, and why it is not run; it is still parsed where it is one of ours."""

DRY_RUN = {
    "--infer_backend vllm": "loads for a minute; tests/kernel/test_seed_engines.py loads it",
    "--infer_backend transformers": "tests/engines/test_transformers.py loads it",
    "--infer_backend deepspeed": "tests/engines/test_deepspeed.py loads it",
    "custom/bge": "tests/kernel/test_seed_engines.py loads it",
    "custom/whisper": "tests/kernel/test_seed_engines.py loads it",
    "custom/sensevoice": "tests/kernel/test_seed_engines.py loads it",
    "custom/piper": "tests/engines/test_piper.py loads it",
}
"""The output of a deploy, and why it gets --dry_run here: a page's run stays short, and no test needs a GPU."""
