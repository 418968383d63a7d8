"""A model hub: the wires of Hugging Face's Hub and of ModelScope that their own packages speak.

`--folder` has the repositories, `OWNER/REPO/...`; large files are kept apart, as by Git LFS: the hub redirects to a
store with another address, which answers ranges. A repository with a file `.gated` or `.private` is given only with
the key. Hugging Face: https://huggingface.co/docs/hub/api. ModelScope: what its client describes (`modelscope_hub`).

POST /faults has a JSON object; its fields, of which each is optional, hold until the next one:

    status      this status for every request of a repository's API
    stall       send nothing more after so many bytes of a large file
    cut         close the connection after so many bytes of a large file
    times       how often stall and cut happen; otherwise always
    damaged     the bytes of large files are others than those that the list describes
    longer      the list says that large files are longer than they are, by so many bytes
    outside     the list has a file at this path, too
    pause       seconds between two pieces of a large file
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from skeleton import JOURNAL, close_now, noted, serve

LARGE_BYTES = 10_000
"""From this size on, files are kept apart."""
PIECE_BYTES = 64 * 1024
PAGE = 4
"""Files in one page of a list."""
FAULTS: dict[str, Any] = {}


def add_routes(app: web.Application) -> None:
    routes = {
        "/api/models": search,
        "/api/models/{owner}/{name}": info,
        "/api/models/{owner}/{name}/revision/{revision}": info,
        "/api/models/{owner}/{name}/tree/{revision}": tree,
        "/{owner}/{name}/resolve/{revision}/{path:.+}": resolve,
        "/store/{owner}/{name}/{path:.+}": store,
        "/api/v1/models/{owner}/{name}/repo/files": ms_files,
        "/api/v1/models/{owner}/{name}/repo": ms_file,
    }
    for path, handler in routes.items():
        app.router.add_get(path, noted(handler))
    app.router.add_post("/faults", set_faults)
    app.middlewares.append(note_token)


async def set_faults(request: web.Request) -> web.Response:
    FAULTS.clear()
    FAULTS.update(await request.json())
    return web.json_response(FAULTS)


# ---- repositories


class Repo:
    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.folder = root / name
        self.files = {
            path.relative_to(self.folder).as_posix(): path
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        self.commit = hashlib.sha1("".join(map(str, self.files)).encode() + name.encode()).hexdigest()

    def marked(self, mark: str) -> bool:
        return (self.folder / f".{mark}").exists()

    def size(self, path: str) -> int:
        size = self.files[path].stat().st_size
        return size + int(FAULTS.get("longer", 0)) if self.is_large(path) else size

    def is_large(self, path: str) -> bool:
        return self.files[path].stat().st_size >= LARGE_BYTES


@cache
def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def git_sha1(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def refusal(status: int, code: str, message: str) -> web.Response:
    headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
    return web.json_response({"error": message, "Code": status, "Message": message}, status=status, headers=headers)


@web.middleware
async def note_token(request: web.Request, handler: Any) -> web.StreamResponse:
    """Note whether a request has a token, which the journal does not show."""
    response: web.StreamResponse = await handler(request)
    if "Authorization" in request.headers and JOURNAL:
        JOURNAL[-1]["has_token"] = True
    return response


def found(request: web.Request) -> Repo | web.Response:
    """Return the repository, or what Hugging Face answers in its place."""
    name = f"{request.match_info['owner']}/{request.match_info['name']}"
    repo = Repo(Path(request.app["folder"]), name)
    if status := FAULTS.get("status"):
        return refusal(status, "", "Internal Server Error" if status >= 500 else "Refused")
    if not repo.files or (repo.marked("private") and not has_key(request)):
        with_token = "Authorization" in request.headers
        return refusal(404 if with_token else 401, "RepoNotFound", "Repository not found")
    revision = request.match_info.get("revision", "main")
    if revision not in ("main", "v1", repo.commit):
        return refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return repo


def has_key(request: web.Request) -> bool:
    """Return whether a request has the key: as a header at Hugging Face, as a cookie at ModelScope."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.cookies.get("m_session_id")
    return bool(request.app["key"]) and given == request.app["key"]


# ---- Hugging Face


async def search(request: web.Request, _entry: dict[str, Any]) -> web.Response:
    root, word = Path(request.app["folder"]), request.query.get("search", "").lower()
    names = [
        f"{path.parent.name}/{path.name}"
        for path in sorted(root.glob("*/*"))
        if path.is_dir() and not (path / ".private").exists()
    ]
    return web.json_response([{"id": name, "modelId": name} for name in names if word in name.lower()])


async def info(request: web.Request, _entry: dict[str, Any]) -> web.Response:
    repo = found(request)
    if isinstance(repo, web.Response):
        return repo
    siblings = [{"rfilename": path} for path in repo.files]
    return web.json_response(
        {"_id": "1", "id": repo.name, "modelId": repo.name, "sha": repo.commit, "siblings": siblings, "tags": []}
    )


async def tree(request: web.Request, _entry: dict[str, Any]) -> web.Response:
    repo = found(request)
    if isinstance(repo, web.Response):
        return repo
    start = int(request.query.get("cursor", 0))
    entries = [_entry_of(repo, path) for path in repo.files]
    if outside := FAULTS.get("outside"):
        entries[0] = {**entries[-1], "path": outside}
    headers = {}
    if start + PAGE < len(entries):
        following = request.url.update_query(cursor=start + PAGE)
        headers["Link"] = f'<{following}>; rel="next"'
    return web.json_response(entries[start : start + PAGE], headers=headers)


def _entry_of(repo: Repo, path: str) -> dict[str, Any]:
    file = repo.files[path]
    entry = {"type": "file", "oid": git_sha1(file), "size": repo.size(path), "path": path}
    if repo.is_large(path):
        entry["lfs"] = {"oid": sha256(file), "size": repo.size(path), "pointerSize": 130}
    return entry


async def resolve(request: web.Request, _entry: dict[str, Any]) -> web.StreamResponse:
    repo = found(request)
    if isinstance(repo, web.Response):
        return repo
    if repo.marked("gated") and not has_key(request):
        status = 403 if "Authorization" in request.headers else 401
        return refusal(status, "GatedRepo", f"Access to model {repo.name} is restricted.")
    path = request.match_info["path"]
    if path not in repo.files:
        return refusal(404, "EntryNotFound", "Entry not found")
    headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
    if not repo.is_large(path):
        headers["ETag"] = f'"{git_sha1(repo.files[path])}"'
        return web.Response(body=repo.files[path].read_bytes(), headers=headers)
    headers |= {
        "X-Linked-Size": str(repo.files[path].stat().st_size),
        "X-Linked-ETag": f'"{sha256(repo.files[path])}"',
        # another name of the same machine, as the store has one of its own
        "Location": f"http://localhost:{request.url.port}/store/{repo.name}/{path}?signature=1",
    }
    return web.Response(status=302, headers=headers)


async def store(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    if "Authorization" in request.headers:
        entry["leaked"] = True  # a signed link is enough; the token is for the hub alone
        return web.Response(status=400, text="Only one auth mechanism allowed")
    repo = Repo(Path(request.app["folder"]), f"{request.match_info['owner']}/{request.match_info['name']}")
    return await sent(request, entry, repo.files[request.match_info["path"]])


async def sent(request: web.Request, entry: dict[str, Any], file: Path) -> web.StreamResponse:
    """Send a large file, or the range that is asked for, with the fault that is set."""
    content = file.read_bytes()
    if FAULTS.get("damaged"):
        content = bytes([content[0] ^ 1]) + content[1:]
    start, end = 0, len(content)
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")):
        start, end = int(asked[1]), int(asked[2]) + 1 if asked[2] else end
        if start >= len(content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
    entry["range"] = [start, end]
    response = web.StreamResponse(status=206 if asked else 200, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    await _write(request, response, content[start:end])
    return response


async def _write(request: web.Request, response: web.StreamResponse, content: bytes) -> None:
    limit = next((int(FAULTS[name]) for name in ("stall", "cut") if name in FAULTS), None)
    if limit is not None and FAULTS.get("times", 1) <= 0:
        limit = None
    for start in range(0, len(content), PIECE_BYTES):
        piece = content[start : start + PIECE_BYTES]
        if limit is not None and start + len(piece) > limit:
            await response.write(piece[: max(0, limit - start)])
            if "times" in FAULTS:
                FAULTS["times"] -= 1
            if "stall" in FAULTS:
                await asyncio.sleep(600)
            close_now(request)
            return
        await response.write(piece)
        if pause := FAULTS.get("pause"):
            await asyncio.sleep(pause)


# ---- ModelScope


def ms_found(request: web.Request) -> Repo | web.Response:
    repo = Repo(Path(request.app["folder"]), f"{request.match_info['owner']}/{request.match_info['name']}")
    if status := FAULTS.get("status"):
        return refusal(status, "", "Refused")
    if not repo.files or (repo.marked("private") and not has_key(request)):
        return refusal(404, "", f"record not found: {repo.name}")
    if request.query.get("Revision", "master") not in ("master", "v1"):
        return refusal(404, "", f"revision {request.query['Revision']} not found")
    return repo


async def ms_files(request: web.Request, _entry: dict[str, Any]) -> web.Response:
    repo = ms_found(request)
    if isinstance(repo, web.Response):
        return repo
    folders = sorted({path.rpartition("/")[0] for path in repo.files if "/" in path})
    listed = [{"Path": name, "Name": name, "Type": "tree", "Size": 0} for name in folders] + [
        {"Path": path, "Name": Path(path).name, "Type": "blob", "Size": repo.size(path), "Sha256": sha256(file),
         "Revision": repo.commit, "IsLFS": repo.is_large(path)}
        for path, file in repo.files.items()
    ]  # fmt: skip
    if outside := FAULTS.get("outside"):
        listed.append({**listed[-1], "Path": outside})
    return web.json_response({"Code": 200, "Success": True, "Message": "success", "Data": {"Files": listed}})


async def ms_file(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    repo = ms_found(request)
    if isinstance(repo, web.Response):
        return repo
    if repo.marked("gated") and not has_key(request):
        return refusal(403, "", "access to this model needs an approval")
    path = request.query["FilePath"]
    if path not in repo.files:
        return refusal(404, "", f"file {path} not found")
    return await sent(request, entry, repo.files[path])


if __name__ == "__main__":
    serve(__doc__, add_routes, folder="where the repositories are")
