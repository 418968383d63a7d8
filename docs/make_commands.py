"""Writes docs/commands.md, the reference of commands and parameters, from the declarations in the code.

`python docs/make_commands.py` writes the file; with `--check` it only exits 1 when the file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from byzer_magic.backends import compatible, registry
from byzer_magic.backends.base import Info, Param
from byzer_magic.backends.local.vllm import params as vllm_params
from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.spec import all_commands
from byzer_magic.i18n import localized

PAGE = Path(__file__).with_name("commands.md")
VALUES = {
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "json": "JSON",
    "params": "key=value ...",
    "texts": "may be repeated",
}
ESCAPED = str.maketrans({"|": r"\|", "<": "&lt;", "*": r"\*"})
"""Characters that Markdown would take for something else."""
INTRO = """\
# Commands and parameters

Made by `docs/make_commands.py`; edit the declarations in `byzer_magic/spec.py` and in the backends instead.

In a notebook, write `%byzer` in front of a command; in a shell, `byzerllm`. `easy` commands are `%byzer easy ...` in
a notebook and `easy-byzerllm ...` in a shell. `%%chat` and `%chat` exist in notebooks only, `sessions` too.

在 notebook 里，命令前写 `%byzer`；在终端里写 `byzerllm`。`easy` 开头的命令，在 notebook 里是 `%byzer easy ...`，
在终端里是 `easy-byzerllm ...`。`%%chat`、`%chat` 和 `sessions` 只在 notebook 里有。"""
PROVIDERS = """\
## Providers that speak OpenAI's wire

They take the parameters of `saas/openai` (below); address and key variable are filled in. Rows of
`byzer_magic/backends/compatible.toml`.

它们的参数与 `saas/openai` 相同（见下），地址和存放 key 的环境变量已填好。"""
BACKENDS = """\
## Parameters of the backends

Settings for `--infer_params`, as `key=value` words. A name that is not in the table is an error. Where a variable is
named, it stands in when the setting is not given.

`--infer_params` 的参数，写成 `key=value`。表里没有的名字会报错；列出了环境变量的，没有写该参数时取环境变量的值。"""

VLLM = "Every argument of the installed vLLM's engine is a parameter; these are the ones that are set most."


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield a Markdown table, line by line."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.translate(ESCAPED) for cell in row)} |"


def code(value: object) -> str:
    """Return a value as inline code, or nothing for None."""
    return "" if value is None else f"`{value}`"


def option_row(opt: Option) -> tuple[str, ...]:
    """Return the row of one option."""
    name = opt.name.upper() if opt.positional else f"--{opt.name}"
    value = ", ".join(map(code, opt.choices)) or ("no value" if opt.kind == "bool" else VALUES.get(opt.kind, opt.kind))
    default = "required" if opt.required else "" if opt.kind in ("bool", "params") else code(opt.default)
    return code(name), value, default, opt.help, localized(opt.help, "zh")


def command_lines(name: str, cls: type[Spec]) -> Iterator[str]:
    """Yield the section of one command."""
    yield f"### {name}\n\n{cls.summary}\n\n{localized(cls.summary, 'zh')}。\n"
    if rows := [option_row(opt) for opt in options_of(cls)]:
        yield from table(("option", "value", "default", "meaning", "中文"), rows)
        yield ""
    yield "\n".join(["```text", *cls.examples, "```", ""])


def param_row(param: Param) -> tuple[str, ...]:
    """Return the row of one parameter of a backend."""
    notes = [param.help]
    notes += [f"one of {', '.join(map(code, param.choices))}"] if param.choices else []
    notes += [f"also {', '.join(map(code, param.aliases))}"] if param.aliases else []
    notes += [f"variable {', '.join(map(code, param.env))}"] if param.env else []
    notes += [f"the variable is not used when {code(param.env_unless)} is given"] if param.env_unless else []
    notes += ["secret"] if param.secret else []
    default = "required" if param.required else code(param.default)
    return code(param.name), VALUES.get(param.kind, param.kind), default, "; ".join(notes)


def backend_lines() -> Iterator[str]:
    """Yield a section for the backends of this package, those with the same parameters together."""
    rows = compatible.load()
    kinds = [kind for kind in registry.saas_kinds() if kind.removeprefix("saas/") not in rows]
    found = {code(kind): registry.find(kind).info for kind in kinds}
    for name, backend in registry.local().items():
        title = code(name) if "/" in name else f"`custom/auto` with `--infer_backend {name}`"
        found[title] = replace(backend.info, params=vllm_params.usual()) if name == "vllm" else backend.info
    for params in dict.fromkeys(info.params for info in found.values()):
        alike = {title: info for title, info in found.items() if info.params == params}
        yield f"### {', '.join(alike)}\n"
        yield from (f"{title}: {described(info)}\n" for title, info in alike.items())
        yield from table(("parameter", "value", "default", "meaning"), map(param_row, params))
        yield ""


def provider_lines() -> Iterator[str]:
    """Yield the table of the providers that are a row of compatible.toml."""
    rows = [
        (code(f"saas/{name}"), row.title, code(row.base_url), ", ".join(map(code, row.env)), row.note)
        for name, row in compatible.load().items()
    ]
    yield from table(("type", "provider", "address", "variable of the key", "note"), rows)
    yield ""


def described(info: Info) -> str:
    """Return what a backend is and what it needs."""
    more = f" {VLLM}" if info.title == "vLLM" else ""
    needs = f" Needs {' or '.join(map(code, info.modules))}: `pip install '.[{info.extra}]'`." if info.modules else ""
    return f"{info.title}.{needs}{more}"


def page() -> str:
    """Return the whole page."""
    lines = [INTRO, "", "## Commands", ""]
    for name, cls in all_commands().items():
        lines += command_lines(name, cls)
    lines += [PROVIDERS, "", *provider_lines(), BACKENDS, "", *backend_lines()]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or check it; return the exit status."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write(f"{PAGE} is out of date. Run: make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
