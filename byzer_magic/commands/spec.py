"""The commands and their options, declared once.

From these dataclasses come the parsers of the magics and of the shell, completion, `--help`, the check of
`--file`, the fields of the forms, and the table in the documentation. Adding an option is adding a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from byzer_magic.commands.options import Spec, option

ENGINES = ("auto", "vllm", "llama_cpp", "transformers", "deepspeed")
"""Values of `--infer_backend`."""


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


def _worker(text: str, zh: str) -> Any:
    return option(None, help=text, zh=zh, kind="int", minimum=0)


@dataclass(frozen=True, kw_only=True, repr=False)
class ScaleSpec(Spec):
    """Another number of workers for a deployment that runs."""

    summary = "Change the number of workers of a running deployment; requests go on meanwhile."
    summary_zh = "在线调整 worker 数量，不中断请求"
    examples = ("scale --model gpt4o_chat --num_workers 8",)

    model: str = _alias()
    num_workers: int = option(help="workers that it shall have", zh="目标 worker 数量", kind="int", minimum=1)
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class DrainSpec(Spec):
    """Workers that shall get no new requests."""

    summary = "Send no new requests to a deployment, or to one worker; those in flight finish. `restart` ends it."
    summary_zh = "停止向部署或某个 worker 派发新请求，进行中的请求继续完成"
    examples = ("drain --model gpt4o_chat", "drain --model llama --worker 1")

    model: str = _alias()
    worker: int | None = _worker("this worker only", "只处理该 worker")
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class RestartSpec(Spec):
    """Workers that shall begin anew."""

    summary = "Restart the workers one after the other, or one of them; requests in flight finish first."
    summary_zh = "逐个重启 worker，进行中的请求先完成"
    examples = ("restart --model llama", "restart --model llama --worker 1")

    model: str = _alias()
    worker: int | None = _worker("this worker only", "只处理该 worker")
    grace: float = option(
        30.0, help="seconds that requests in flight may take to finish", zh="等待秒数", kind="float", minimum=0
    )
    ray_address: str = _ray_address()


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
class PanelSpec(Spec):
    """The live panel."""

    summary = "Show all deployments, or one, in a panel that stays live while cells run."
    summary_zh = "实时面板：部署、worker、队列、速度与花费"
    examples = ("panel", "panel --model gpt4o_chat")
    notebook_only = "In a shell there is: stat --interval 1"

    model: str | None = _alias(None)
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class PlotSpec(Spec):
    """A deployment's last minutes as a figure."""

    summary = "Plot latency, throughput and cost of a deployment over the last minutes."
    summary_zh = "绘制部署最近的延迟、吞吐与花费"
    examples = ("plot --model gpt4o_chat", "plot --model gpt4o_chat --minutes 2")
    notebook_only = "In a shell there is: stat --model ALIAS --json"

    model: str = _alias()
    minutes: float = option(
        10.0, help="how far back, at most 10", zh="回看的分钟数，最多 10", kind="float", minimum=0.1
    )
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class FormSpec(Spec):
    """A form for a deployment."""

    summary = "Fill in a deployment as a form: fields, checks, a test of the connection, the command it stands for."
    summary_zh = "用表单填写部署：字段、检查、连接测试、对应的命令"
    examples = ("form", "form deepseek-chat", "form --file deploy.yml")
    notebook_only = "In a shell there is: deploy --help"
    keeps_file = True

    preset: str | None = option(
        None, help="preset, type (saas/openai) or engine (vllm) to begin with", zh="预设、类型或引擎",
        positional=True, complete="preset",
    )  # fmt: skip
    file: str | None = option(None, help="YAML file to begin with", zh="YAML 配置文件", complete="path")
    ray_address: str = _ray_address()


@dataclass(frozen=True, kw_only=True, repr=False)
class ChatViewSpec(Spec):
    """A chat window in a cell."""

    summary = "Open a chat with a deployment: streaming answers, attachments, sessions, settings."
    summary_zh = "打开聊天窗口：流式回答、附件、会话、参数"
    examples = ("chat gpt4o_chat", "chat gpt4o_chat --session tutor")
    notebook_only = "In a shell there is: easy-byzerllm chat ALIAS PROMPT"

    model: str = _alias(positional=True)
    session: str | None = option(None, help="go on with this session of %%chat", zh="会话名")
    system: str | None = option(None, help="system prompt", zh="系统提示词")
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
    notebook_only = "In a shell there are no sessions."

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
        "%%chat gpt4o_chat,deepseek_chat --judge qwen_max",
    )

    model: str = option(
        help="alias of the deployment; several, with commas between, answer side by side",
        zh="部署实例的名字；用逗号分隔多个，则并排回答", complete="alias", positional=True,
    )  # fmt: skip
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
        None, help="a sound to write down: path or variable; rec: record it here", zh="音频：路径、变量，或 rec 录音",
        complete="path",
    )  # fmt: skip
    params: Mapping[str, str] = _request_params()
    session: str | None = option(None, help="remember the conversation under this name", zh="会话名")
    reset: bool = option(default=False, help="start the session anew", zh="重置会话", kind="flag")
    format: str = option(
        "markdown", help="how the answer is shown", zh="显示格式", choices=("markdown", "text", "json", "code")
    )
    out: str | None = option(
        None, help="put the result (of several models: a list) into this variable", zh="结果变量名"
    )
    df: bool = option(
        default=False, help="put a pandas DataFrame into --out instead", zh="结果为 DataFrame", kind="flag"
    )
    judge: str | None = option(
        None, help="a deployment that compares the answers of several models", zh="比较多个回答的模型", complete="alias"
    )
    no_stream: bool = option(default=False, help="show the answer when it is complete", zh="不使用流式", kind="flag")
    timeout: float | None = option(
        None, help="seconds to wait for the whole answer", zh="超时（秒）", kind="float", minimum=0
    )


COMMANDS: dict[str, type[Spec]] = {
    "deploy": DeploySpec,
    "undeploy": UndeploySpec,
    "scale": ScaleSpec,
    "drain": DrainSpec,
    "restart": RestartSpec,
    "stat": StatSpec,
    "panel": PanelSpec,
    "plot": PlotSpec,
    "form": FormSpec,
    "chat": ChatViewSpec,
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
    return COMMANDS | {f"easy {name}": cls for name, cls in EASY_COMMANDS.items()} | {"%%chat": ChatSpec}


def name_of(cls: type[Spec]) -> str:
    """Return the name of a command, e.g. `easy deploy`."""
    return next(name for name, known in all_commands().items() if known is cls)
