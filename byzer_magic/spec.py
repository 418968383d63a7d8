"""The commands and their options, declared once.

From these dataclasses come the parsers of the magics and of the shell, completion, `--help`, the check of
`--file`, and the table in the documentation. Adding an option is adding a field.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from byzer_magic.errors import CommandError

ENGINES = ("auto", "vllm", "llama_cpp", "transformers", "deepspeed")
"""Values of `--infer_backend`."""

HIDDEN = "***"
"""What stands for a value that must not be seen."""

_SECRET_NAME = re.compile(
    r"(?:api_?key|access_?key|secret_?key|private_?key|token|secret|passw(?:or)?d|credentials?|authorization|proxy|proxies|headers)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Option:
    """How one field appears as a flag."""

    name: str
    help: str
    zh: str
    default: Any
    kind: str
    """`text`, `texts` (the flag may be repeated), `int`, `float`, `flag` (no value) or `params` (key=value words)."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    required: bool = False
    positional: bool = False
    """Taken from the words without a flag; the last of several takes all words that remain."""
    secret: bool = False
    complete: str = ""
    """What completes the value: `alias`, `preset`, `kind`, `path`, `command` or nothing."""


def option(default: Any = MISSING, *, help: str, zh: str = "", kind: str = "text", **more: Any) -> Any:  # noqa: A002 - argparse's own word
    """Declare a field that is also a flag; a field without a default is required."""
    meta = {"help": help, "zh": zh, "kind": kind, **more}
    if kind == "params":
        return field(default_factory=dict, metadata=meta)
    return field(metadata=meta) if default is MISSING else field(default=default, metadata=meta)


def options_of(spec: type[Any] | object) -> tuple[Option, ...]:
    """Return the options of a spec class, in the order of their declaration."""
    found = []
    for item in fields(spec):  # type: ignore[arg-type]  # mypy does not see that every spec is a dataclass
        meta = dict(item.metadata)
        required = item.default is MISSING and item.default_factory is MISSING
        default = None if item.default is MISSING else item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        found.append(Option(name=item.name, default=default, required=meta.pop("required", required), **meta))
    return tuple(found)


def check(spec: object) -> None:
    """Raise CommandError when a value is outside its declared choices or bounds."""
    for opt in options_of(type(spec)):
        value = getattr(spec, opt.name)
        if opt.choices and value is not None and value not in opt.choices:
            raise CommandError(
                f"--{opt.name} is {value!r}, which is not one of {', '.join(opt.choices)}.",
                suggest(str(value), opt.choices),
            )
        if opt.minimum is not None and value is not None and value < opt.minimum:
            raise CommandError(f"--{opt.name} is {value}, which is below its minimum of {opt.minimum:g}.")


def suggest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the hint "Did you mean ...?" with the known name nearest to `word`, or `otherwise` when none is near."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return f"Did you mean {by_fold[near[0]]}?" if near else otherwise


def is_secret_name(name: str) -> bool:
    """Return whether a setting of that name holds a secret (`saas.api_key` does, `saas.max_tokens` does not)."""
    return bool(_SECRET_NAME.search(name.rpartition(".")[2].replace("-", "_")))


def hide(value: str) -> str:
    """Return ``***``, or the value itself where it only names its secret (`${NAME}`) or is empty."""
    return value if not value or _REFERENCE.fullmatch(value) else HIDDEN


def visible(opt: Option, value: Any) -> Any:
    """Return the value of an option as it may be shown: secrets hidden."""
    if opt.kind == "params":
        return {name: hide(text) if is_secret_name(name) else text for name, text in value.items()}
    return hide(value) if opt.secret and isinstance(value, str) else value


class Spec:
    """Base of all commands: checks its values as it is made, and shows no secret in its repr."""

    __slots__ = ()
    summary = ""
    summary_zh = ""
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check choices and bounds.

        Raises:
            CommandError: a value is not allowed.
        """
        check(self)

    def __repr__(self) -> str:
        values = ((opt, getattr(self, opt.name)) for opt in options_of(self))
        shown = ", ".join(f"{opt.name}={visible(opt, value)!r}" for opt, value in values if value != opt.default)
        return f"{type(self).__name__}({shown})"


def _alias(default: Any = MISSING, **more: Any) -> Any:
    return option(default, help="alias of the deployment", zh="部署实例的名字", complete="alias", **more)


def _images(text: str, zh: str) -> Any:
    return option((), help=text, zh=zh, kind="texts", complete="path")


def _request_params() -> Any:
    return option(
        help="more fields of the request as key=value words (voice, size, n, seed, response_format, ...)",
        zh="请求参数，key=value",
        kind="params",
    )


def _ray_address() -> Any:
    return option(
        "auto", help="Ray cluster: auto (running one, else a local one is started) or host:port", zh="Ray 集群地址"
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class DeploySpec(Spec):
    """A model to deploy. Text stays as typed: `${NAME}` is expanded beside the spec, never in it."""

    summary = "Deploy a SaaS model or local weights under an alias."
    summary_zh = "部署一个 SaaS 模型或本地模型"
    examples = (
        "deploy --pretrained_model_type saas/openai --model gpt4o_chat"
        " --infer_params saas.model=gpt-4o saas.api_key=${MODEL_OPENAI_TOKEN}",
        "deploy --pretrained_model_type custom/auto --infer_backend llama_cpp --model_path model.gguf --model llama",
        "deploy --file deploy.yml --dry_run",
    )

    model: str = option(help="name of this deployment, unique in the cluster", zh="部署实例的名字，唯一")
    pretrained_model_type: str = option(
        "custom/auto", help="saas/<provider> or custom/<family>", zh="模型类型：saas/xxx 或 custom/xxx", complete="kind"
    )
    infer_backend: str | None = option(None, help="engine of a local model", zh="本地模型的推理引擎", choices=ENGINES)
    model_path: str | None = option(
        None, help="weights of a local model: file or folder", zh="本地模型路径", complete="path"
    )
    num_workers: int = option(1, help="workers of this deployment", zh="worker 数量", kind="int", minimum=1)
    worker_concurrency: int = option(
        1, help="requests one worker runs at once", zh="每个 worker 的最大并发", kind="int", minimum=1
    )
    cpus_per_worker: float = option(
        0.01, help="CPUs Ray reserves per worker", zh="每个 worker 的 CPU 数", kind="float", minimum=0
    )
    gpus_per_worker: float = option(
        0.0, help="GPUs Ray reserves per worker", zh="每个 worker 的 GPU 数", kind="float", minimum=0
    )
    infer_params: Mapping[str, str] = option(
        help="settings of the backend as key=value words (saas.*, backend.*, ...)",
        zh="推理参数，key=value",
        kind="params",
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help="YAML file with any of these options", zh="YAML 配置文件", complete="path")
    replace: bool = option(default=False, help="replace what runs under this alias", zh="替换同名部署", kind="flag")
    dry_run: bool = option(default=False, help="check everything, deploy nothing", zh="只检查，不部署", kind="flag")


@dataclass(frozen=True, kw_only=True, repr=False)
class UndeploySpec(Spec):
    """A deployment to remove."""

    summary = "Remove a deployment; requests in flight may finish first."
    summary_zh = "下线一个部署"
    examples = ("undeploy --model gpt4o_chat", "undeploy --model gpt4o_chat --force")

    model: str = _alias()
    force: bool = option(default=False, help="do not wait for requests in flight", zh="不等待进行中的请求", kind="flag")
    grace: float = option(
        30.0, help="seconds that requests in flight may take to finish", zh="等待秒数", kind="float", minimum=0
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help="YAML file with any of these options", zh="YAML 配置文件", complete="path")


@dataclass(frozen=True, kw_only=True, repr=False)
class StatSpec(Spec):
    """A look at one deployment, or at all."""

    summary = "Show the counters of one deployment as JSON, or a table of all."
    summary_zh = "查看部署状态"
    examples = ("stat --model gpt4o_chat", "stat --interval 2", "stat --df")

    model: str | None = _alias(None)
    json: bool = option(default=False, help="print plain JSON", zh="输出 JSON", kind="flag")
    df: bool = option(default=False, help="return a pandas DataFrame (notebook)", zh="返回 DataFrame", kind="flag")
    interval: float = option(
        0.0, help="repeat every so many seconds until interrupted", zh="刷新间隔（秒）", kind="float", minimum=0
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help="YAML file with any of these options", zh="YAML 配置文件", complete="path")


@dataclass(frozen=True, kw_only=True, repr=False)
class ListSpec(Spec):
    """All deployments."""

    summary = "List the deployments of the cluster."
    summary_zh = "列出所有部署"
    examples = ("list",)

    json: bool = option(default=False, help="print plain JSON", zh="输出 JSON", kind="flag")
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class QuerySpec(Spec):
    """One prompt to one deployment."""

    summary = "Send one prompt and print the answer."
    summary_zh = "向模型提问"
    examples = (
        'query --model gpt4o_chat --query "Why is the sky blue?"',
        'query --model openai_tts --query "Hello" --params voice=nova --output_file hello.mp3',
        "query --model voice2text --audio talk.m4a",
    )

    model: str = _alias()
    query: str | None = option(None, help="the prompt", zh="问题")
    output_file: str | None = option(
        None, help="write the answer to this file: text, sound, picture or JSON", zh="输出文件", complete="path"
    )
    image: tuple[str, ...] = _images("a picture to look at or to change: path or URL; may be repeated", "图片，可重复")
    audio: str | None = option(None, help="a sound to write down: its path", zh="音频文件", complete="path")
    params: Mapping[str, str] = _request_params()
    system: str | None = option(None, help="system prompt", zh="系统提示词")
    temperature: float | None = option(None, help="sampling temperature", zh="采样温度", kind="float")
    max_tokens: int | None = option(
        None, help="longest answer, in tokens", zh="最大输出 token 数", kind="int", minimum=1
    )
    timeout: float | None = option(
        None, help="seconds to wait for the whole answer", zh="超时（秒）", kind="float", minimum=0
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help="YAML file with any of these options", zh="YAML 配置文件", complete="path")


@dataclass(frozen=True, kw_only=True, repr=False)
class LogsSpec(Spec):
    """The log of one deployment."""

    summary = "Show the last lines that a deployment and its engine wrote."
    summary_zh = "查看日志"
    examples = ("logs --model llama --lines 50",)

    model: str = _alias()
    lines: int = option(100, help="how many lines", zh="行数", kind="int", minimum=1)
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class ConnectSpec(Spec):
    """A cluster to use."""

    summary = "Connect to a Ray cluster (auto: the running one, else start a local one)."
    summary_zh = "连接 Ray 集群"
    examples = ("connect", "connect --ray_address 10.0.0.5:6379")

    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class ShutdownSpec(Spec):
    """The end of the local Ray."""

    summary = "Stop the local Ray that byzer-magic started, with all its deployments."
    summary_zh = "关闭本机由 byzer-magic 启动的 Ray"
    examples = ("shutdown",)


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelsSpec(Spec):
    """The models on this machine's disk."""

    summary = "List the local models in the usual caches, and what runs each."
    summary_zh = "列出本机缓存目录里的模型"
    examples = ("models", "models --model_path /data/models")

    model_path: str | None = option(None, help="look in this folder instead", zh="只在此目录下查找", complete="path")
    json: bool = option(default=False, help="print plain JSON", zh="输出 JSON", kind="flag")


@dataclass(frozen=True, kw_only=True, repr=False)
class DoctorSpec(Spec):
    """What is installed here, and what a model would need."""

    summary = "Show which engines are installed, what is free, and what a model would need."
    summary_zh = "检查已安装的引擎、空闲资源，以及模型所需内存"
    examples = ("doctor", "doctor --model_path /data/models/Qwen3-8B")

    model_path: str | None = option(
        None, help="a model to size up before it is loaded: file or folder", zh="要评估的模型路径", complete="path"
    )
    json: bool = option(default=False, help="print plain JSON", zh="输出 JSON", kind="flag")


@dataclass(frozen=True, kw_only=True, repr=False)
class PresetsSpec(Spec):
    """The table of presets."""

    summary = "Show the presets that `easy deploy` knows."
    summary_zh = "列出预设模型"
    examples = ("presets",)

    json: bool = option(default=False, help="print plain JSON", zh="输出 JSON", kind="flag")


@dataclass(frozen=True, kw_only=True, repr=False)
class SessionsSpec(Spec):
    """The conversations that `%%chat --session` remembers."""

    summary = "List the conversation sessions of this notebook, or forget some."
    summary_zh = "列出或清除会话"
    examples = ("sessions", "sessions --reset tutor", "sessions --reset all")

    reset: str | None = option(None, help="forget this session (all: every one)", zh="清除会话")


@dataclass(frozen=True, kw_only=True, repr=False)
class EasyDeploySpec(Spec):
    """A preset to deploy."""

    summary = "Deploy a preset: provider, URL and model name are filled in."
    summary_zh = "用预设一键部署"
    examples = ("easy deploy deepseek-chat --token ${DEEPSEEK_API_KEY} --alias deepseek_chat",)

    preset: str = option(
        help="name of the preset (`presets` shows them)", zh="预设模型名", positional=True, complete="preset"
    )
    token: str | None = option(None, help="key of the provider; ${NAME} is fine", zh="API key", secret=True)
    alias: str | None = option(None, help="alias; default: the preset's name with _ for other characters", zh="别名")
    base_url: str | None = option(None, help="another endpoint with the same wire", zh="服务地址")
    infer_params: Mapping[str, str] = option(help="more settings, key=value", zh="更多推理参数", kind="params")
    ray_address: str = _ray_address()
    replace: bool = option(default=False, help="replace what runs under this alias", zh="替换同名部署", kind="flag")
    dry_run: bool = option(default=False, help="check everything, deploy nothing", zh="只检查，不部署", kind="flag")


@dataclass(frozen=True, kw_only=True, repr=False)
class EasyUndeploySpec(Spec):
    """A deployment to remove, named without a flag."""

    summary = "Remove a deployment."
    summary_zh = "下线一个部署"
    examples = ("easy undeploy deepseek_chat",)

    model: str = _alias(positional=True)
    force: bool = option(default=False, help="do not wait for requests in flight", zh="不等待进行中的请求", kind="flag")
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class EasyChatSpec(Spec):
    """One prompt to one deployment, named without flags."""

    summary = "Send one prompt and print the answer as it comes."
    summary_zh = "和模型聊天"
    examples = ("easy chat deepseek_chat Why is the sky blue?",)

    model: str = _alias(positional=True)
    query: str = option(help="the prompt", zh="问题", positional=True)
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class ChatSpec(Spec):
    """The first line of `%%chat` (or all of `%chat`)."""

    summary = "Ask a deployment what it is for: chat streams into the cell, speech plays, pictures show."
    summary_zh = "与模型对话；语音、图片模型直接播放、显示"
    examples = (
        "%%chat gpt4o_chat --session tutor",
        "%chat gpt4o_chat Why is the sky blue?",
        "%%chat gpt4o_chat --image photo.png",
        "%%chat openai_tts --params voice=nova speed=1.1 --out speech",
        "%chat voice2text --audio talk.m4a",
    )

    model: str = _alias(positional=True)
    query: str | None = option(None, help="the prompt, when it is not in the cell", zh="问题", positional=True)
    system: str | None = option(None, help="system prompt", zh="系统提示词")
    temperature: float | None = option(None, help="sampling temperature", zh="采样温度", kind="float")
    max_tokens: int | None = option(
        None, help="longest answer, in tokens", zh="最大输出 token 数", kind="int", minimum=1
    )
    image: tuple[str, ...] = _images(
        "a picture to look at or to change: path, URL or variable; may be repeated", "图片：路径、URL 或变量，可重复"
    )
    audio: str | None = option(
        None, help="a sound to write down: path or variable", zh="音频：路径或变量", complete="path"
    )
    params: Mapping[str, str] = _request_params()
    session: str | None = option(None, help="remember the conversation under this name", zh="会话名")
    reset: bool = option(default=False, help="start the session anew", zh="重置会话", kind="flag")
    format: str = option(
        "markdown", help="how the answer is shown", zh="显示格式", choices=("markdown", "text", "json", "code")
    )
    out: str | None = option(None, help="put the result into this variable", zh="结果变量名")
    no_stream: bool = option(default=False, help="show the answer when it is complete", zh="不使用流式", kind="flag")
    timeout: float | None = option(
        None, help="seconds to wait for the whole answer", zh="超时（秒）", kind="float", minimum=0
    )


COMMANDS: dict[str, type[Spec]] = {
    "deploy": DeploySpec,
    "undeploy": UndeploySpec,
    "stat": StatSpec,
    "list": ListSpec,
    "query": QuerySpec,
    "logs": LogsSpec,
    "connect": ConnectSpec,
    "presets": PresetsSpec,
    "models": ModelsSpec,
    "doctor": DoctorSpec,
    "sessions": SessionsSpec,
    "shutdown": ShutdownSpec,
}
"""Subcommands of `%byzer` and `byzerllm`."""

EASY_COMMANDS: dict[str, type[Spec]] = {
    "deploy": EasyDeploySpec,
    "undeploy": EasyUndeploySpec,
    "chat": EasyChatSpec,
}
"""Subcommands of `%byzer easy` and `easy-byzerllm`."""


def all_commands() -> dict[str, type[Spec]]:
    """Return every command by the name that errors, help and completion call it."""
    return COMMANDS | {f"easy {name}": cls for name, cls in EASY_COMMANDS.items()} | {"chat": ChatSpec}


def name_of(cls: type[Spec]) -> str:
    """Return the name of a command, e.g. `easy deploy`."""
    return next(name for name, known in all_commands().items() if known is cls)
