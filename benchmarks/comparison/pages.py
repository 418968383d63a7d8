"""The kept results as text: for the terminal, and between marks in the pages of `docs/`, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tables import markdown, print_columns

from comparison import draw, summary
from comparison.systems import ROUTES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"en": DOCS / "performance.md", "zh": DOCS / "zh" / "performance.md"}
BEGIN, END = "<!-- {part}: written by `python benchmarks/peers.py --docs` -->", "<!-- end of {part} -->"
CHINESE = {
    "ours": "byzer-magic",
    "raw aiohttp": "raw（aiohttp）",
    "command": "命令",
    "seconds": "秒",
    "process": "进程",
    "MB (PSS)": "内存 MB（PSS）",
    "local Ray up": "启动本地 Ray",
    "fresh Python to its first answer": "新的 Python 进程部署并得到首个回答",
    "kernel: new": "内核：刚启动",
    "kernel: with the extension": "内核：加载扩展后",
    "kernel: connected": "内核：连接后",
    "kernel: after a chat": "内核：对话后",
    "kernel: each of ten": "内核：同时运行十个时平均每个",
    "all processes of a local Ray with one alias": "本地 Ray 加一个部署，全部进程",
    "GCS, Ray's directory of the cluster": "GCS，Ray 的集群目录",
    "raylet, which starts Ray's workers": "raylet，启动 Ray 的 worker",
    "Ray's dashboard agent": "Ray 的 dashboard agent",
    "Ray's runtime environment agent": "Ray 的 runtime env agent",
    "Ray's log monitor": "Ray 的日志监视器",
    "Ray's autoscaler monitor": "Ray 的 autoscaler 监视器",
    "the process that holds the local Ray": "持有本地 Ray 的进程",
    "the controller": "控制器",
    "the pool of the alias": "该部署的进程",
    "the process that waits for the next deploy": "等待下一次部署的进程",
    "Cost by workers": "开销与 worker 数",
    "Cost by in flight": "开销与并发请求数",
    "Cost by notebooks": "开销与 notebook 数",
    "Cost by deployments": "开销与部署数",
    "another Ray worker": "其他 Ray worker",
}
ENGLISH = {"ours": "byzer-magic", "Cost by in flight": "Cost by requests in flight"}
ABOUT = {
    "en": "{date}, {machine}; medians of {rounds} rounds; {versions}",
    "zh": "{date}，{machine}；{rounds} 轮的中位数；{versions}",
}


def shown(kept: Mapping[str, Any]) -> None:
    """Print what there is."""
    for part, cells in _tables(kept, "en").items():
        print()
        print_columns(cells)
        print(_about(kept[part]["about"], "en"), kept[part]["about"]["load"], sep="; ")
        for way, why in kept[part].get("missing", {}).items():
            print(f"{ROUTES[way].title}: not measured: {why}")
    for axis, points in kept.get("growth", {}).items():
        if axis in draw.FIGURES:
            print()
            names = list(dict.fromkeys(name for point in points for name in point))
            lines = [[f"{point[name]:,.5g}" if name in point else "-" for name in names] for point in points]
            print_columns([[axis, *names[1:]], *lines])
    if "growth" in kept:
        print(_about(kept["growth"]["about"], "en"), kept["growth"]["about"]["load"], sep="; ")


def write(kept: Mapping[str, Any]) -> None:
    """Write the tables into the pages, and draw the pictures beside them."""
    for language, page in PAGES.items():
        text = page.read_text(encoding="utf-8")
        for part, cells in _tables(kept, language).items():
            text = placed(text, part, f"{markdown(cells)}\n\n{_about(kept[part]['about'], language)}")
        if "growth" in kept:
            text = placed(text, "growth", _pictures(kept["growth"], language))
        page.write_text(text, encoding="utf-8")
    draw.draw(kept.get("growth", {}), DOCS / "images")


def placed(page: str, part: str, text: str) -> str:
    """Return a page with a text in place of what was between the marks of a part.

    Example:
        >>> page = placed(f"{BEGIN.format(part='growth')}\\nold\\n{END.format(part='growth')}\\n", "growth", "new")
        >>> page.splitlines()[2:-2]
        ['new']
    """
    before, begin, rest = page.partition(BEGIN.format(part=part))
    _, end, after = rest.partition(END.format(part=part))
    if not end:
        raise ValueError(f"The page has no marks of {part}.")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _tables(kept: Mapping[str, Any], language: str) -> dict[str, list[list[str]]]:
    """Return the tables of those parts that were measured."""
    found = {}
    if "peers" in kept:
        figures, missing = kept["peers"]["figures"], kept["peers"]["missing"]
        titles = {way: _said(route.title, language) for way, route in ROUTES.items() if way in {*figures, *missing}}
        found["peers"] = summary.cells(figures, titles, chinese=language == "zh")
    if "commands" in kept:
        found["commands"] = _commands(kept["commands"], language)
    return found


def _commands(measured: Mapping[str, Any], language: str) -> list[list[str]]:
    """Return commands with their seconds, then processes with their memory, side by side."""
    sizes = [(f"kernel: {name}", size) for name, size in measured["kernel"].items()]
    total = sum(size for _, size in measured["processes"])
    sizes += [("all processes of a local Ray with one alias", total), *measured["processes"]]
    left = [[_said(name, language), f"{seconds:.2f}"] for name, seconds in measured["seconds"].items()]
    right = [[_said(name, language), f"{size:.0f}"] for name, size in sizes]
    blank = ["", ""]
    lines = [
        (left[row] if row < len(left) else blank) + (right[row] if row < len(right) else blank)
        for row in range(max(len(left), len(right)))
    ]
    return [[_said(name, language) for name in ("command", "seconds", "process", "MB (PSS)")], *lines]


def _pictures(growth: Mapping[str, Any], language: str) -> str:
    folder = "images" if language == "en" else "../images"
    pictures = [
        f"![{_said(f'Cost by {axis}', language)}]({folder}/{draw.file_name(axis)})"
        for axis in draw.FIGURES
        if axis in growth
    ]
    return "\n\n".join([*pictures, _about(growth["about"], language)])


def _about(about: Mapping[str, Any], language: str) -> str:
    """Return when, where, and with which versions it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return ABOUT[language].format(**{**about, "versions": versions})


def _said(text: str, language: str) -> str:
    return CHINESE.get(text, text) if language == "zh" else ENGLISH.get(text, text)
