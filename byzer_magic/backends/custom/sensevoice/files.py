"""FunASR's folders: what must be in them, and where a voice activity detector may be on this machine.

Laid out as published: https://huggingface.co/FunAudioLLM/SenseVoiceSmall, https://huggingface.co/funasr/fsmn-vad.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.errors import BadParameter, EngineFailed, suggest
from byzer_magic.files import paths
from byzer_magic.i18n import join, lazy_gettext as _, listed
from byzer_magic.local_models import files

FSMN = "fsmn-vad"
SILERO = "silero-vad"
IDS = {"ms": "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", "hf": "funasr/fsmn-vad"}
"""What fsmn-vad is called on each hub: ModelScope, Hugging Face."""
HUBS = {"ms": ("MODELSCOPE_DOMAIN", "https://www.modelscope.cn"), "hf": ("HF_ENDPOINT", "https://huggingface.co")}
"""The variable that moves a hub elsewhere, and where it is."""
REACH_SECONDS = 4.0
SMALLEST_BYTES = 1000
"""Weights and tokenizers are larger; Git LFS leaves pointers of 130 bytes in their place."""

_HUB_NAME = re.compile(r"(?<![\w.-])\w[\w.-]*/[\w.-]+")
_PARTS = {
    "config": ("config.yaml", ("config",)),
    "weights": ("model.pt", ("init_param",)),
    "normalisation": ("am.mvn", ("frontend_conf", "cmvn_file")),
    "tokenizer": ("bpe.model", ("tokenizer_conf", "bpemodel")),
}
"""The files of a folder, and the fields of its configuration.json that name them when they have other names."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that FunASR can load."""

    path: Path
    model: str
    """The class that its config.yaml names."""
    size: int
    """Bytes of its weights."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A voice activity detector: a folder, or a name that FunASR fetches from a hub."""

    name: str
    hub: str = ""

    @property
    def arguments(self) -> dict[str, str]:
        """Return FunASR's arguments for its location."""
        return {"hub": self.hub} if self.hub else {}


def sensevoice(model_path: str | None) -> Folder:
    """Return the folder of a SenseVoice.

    Raises:
        BadParameter: it is not one, or files are missing; the message names them.
    """
    path = files.existing(model_path)
    if path.is_file():
        raise BadParameter(_("{path} is a file.", path=path), _("Specify its folder: {parent}.", parent=path.parent))
    if not any((path / name).is_file() for name in ("config.yaml", "configuration.json", "model.pt")):
        form = files.inspect(model_path).format
        raise BadParameter(
            _("{path} is not a SenseVoice model: it is a {form} model.", path=path, form=form),
            _("Specify a folder with a config.yaml."),
        )
    found = folder(path, tokenizer=True)
    if not found.model.startswith("SenseVoice"):
        raise BadParameter(
            _(
                "{path} is not a SenseVoice model: its config.yaml has model: {model}.",
                path=path,
                model=found.model or "nothing",
            ),
            _("Specify the folder of a SenseVoiceSmall model."),
        )
    return found


def folder(path: Path, *, tokenizer: bool = False) -> Folder:
    """Return a folder's content, when all that FunASR reads is there; it would silently do without missing files.

    Raises:
        BadParameter: files are missing, which are named, or are not what they should be.
    """
    parts = _parts(path)
    if not tokenizer:
        del parts["tokenizer"]
    missing = [file.name for file in parts.values() if not file.is_file()]
    if missing:
        raise BadParameter(
            _("{path} lacks {missing}.", path=path, missing=listed(missing)),
            _("Copy the missing files, or download the model again."),
        )
    for name in ("weights", "tokenizer"):
        if name in parts and parts[name].stat().st_size < SMALLEST_BYTES:
            raise BadParameter(
                _(
                    "{parts} is only {st_size} bytes long: it is incomplete, or a Git LFS pointer.",
                    parts=parts[name],
                    st_size=parts[name].stat().st_size,
                ),
                _("Run git lfs pull, or download it again."),
            )
    return Folder(path, files.architecture(files.read_yaml(parts["config"])), parts["weights"].stat().st_size)


def _parts(path: Path) -> dict[str, Path]:
    """Return the folder's files by what they are for."""
    named: Any = {}
    if (path / "configuration.json").is_file():
        named = files.read_json(path / "configuration.json").get("file_path_metas")
        if not isinstance(named, Mapping) or "config" not in named:
            raise BadParameter(_("{path} does not name the config.yaml "
                                 "(file_path_metas).", path=path / 'configuration.json'),
                               _("Download the model again, or remove that file."))  # fmt: skip
    found = {}
    for part, (name, keys) in _PARTS.items():
        value: Any = named
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        found[part] = path / (value if isinstance(value, str) else name)
    return found


def detector(name: str, beside: Path) -> Detector | None:
    """Return a voice activity detector that is on this machine, or None when a hub must be asked for it.

    Raises:
        BadParameter: it is a path that leads nowhere, or to something else; or no name that is known.
    """
    if name in (SILERO, "silero_vad"):
        return Detector(SILERO)
    path = paths.expanded(name)
    if path.is_absolute() and not path.exists():
        raise BadParameter(_("vad_model is {name!r}, which does not exist.", name=name), paths.near(path))
    if not path.is_absolute() and name != FSMN and not _HUB_NAME.fullmatch(name) and not _beside(name, beside):
        raise BadParameter(
            _("vad_model is {name!r}, which is neither a known detector nor a folder next to the model.", name=name),
            suggest(
                name,
                (FSMN, SILERO),
                _("Use {fsmn}, {silero}, the full path of a folder, or owner/model.", fsmn=FSMN, silero=SILERO),
            ),
        )
    for place in [path] if path.is_absolute() else places(name, beside):
        if place == path or (place / "config.yaml").is_file():
            return _detector(place)
    return None


def _detector(path: Path) -> Detector:
    found = folder(path)
    if not found.model.startswith("FsmnVAD"):
        raise BadParameter(
            _(
                "vad_model is {path}, which is not a voice activity detector: its config.yaml has model: {model}.",
                path=path,
                model=found.model,
            ),
            _("Specify the folder of {fsmn}.", fsmn=FSMN),
        )
    return Detector(str(path))


def _beside(name: str, model: Path) -> bool:
    return any((folder / name).is_dir() for folder in (model, model.parent))


def places(name: str, model: Path) -> list[Path]:
    """Return the folders where a detector is looked for, the nearest first."""
    ids = IDS if name in (FSMN, *IDS.values()) else dict.fromkeys(HUBS, name)
    names = dict.fromkeys([name, *(found.rpartition("/")[2] for found in ids.values())])
    near = [folder / word for word in names for folder in (model, model.parent)]
    return [*near, *_modelscope(ids["ms"]), *_snapshots(_hugging_face() / f"models--{ids['hf'].replace('/', '--')}")]


def _modelscope(name: str) -> Iterator[Path]:
    """Yield where ModelScope's versions keep a model."""
    owner, _, own = name.rpartition("/")
    for root in _modelscope_roots():
        for base in (root, root / "hub"):
            yield base / "models" / owner / own.replace(".", "___")
            yield base / owner / own.replace(".", "___")
            yield from _snapshots(base / "models" / name.replace("/", "--"))


def _modelscope_roots() -> list[Path]:
    given = os.environ.get("MODELSCOPE_CACHE")
    return list(dict.fromkeys([*([Path(given)] if given else []), paths.expanded("~/.cache/modelscope")]))


def _hugging_face() -> Path:
    home = paths.expanded(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def _snapshots(root: Path) -> list[Path]:
    """Return the versions of a model in a cache, or where they would be."""
    return sorted((root / "snapshots").glob("*"), reverse=True) or [root / "snapshots"]


def remote(name: str, hub: str, beside: Path) -> Detector:
    """Return a detector that FunASR can fetch; asks the hubs whether they can be reached at all.

    FunASR itself would try for minutes, and then go on without.

    Raises:
        EngineFailed: no hub can be reached; the message names the folders searched, the hint what to download.
    """
    asked = [hub] if hub else list(HUBS)
    faults = []
    for found in asked:
        fault = unreachable(found)
        if not fault:
            return Detector(IDS[found] if name in (FSMN, *IDS.values()) else name, found)
        faults.append(_("{url}: {reason}", url=hub_url(found), reason=fault))
    there = IDS[asked[0]] if name == FSMN else name
    looked = listed(str(place) for place in (beside, beside.parent, *_modelscope_roots(), _hugging_face()))
    command = f"modelscope download --model {there}" if asked[0] == "ms" else f"hf download {there}"
    raise EngineFailed(
        _(
            "The voice activity detector {name} is not on this machine, and no hub can be reached ({faults}). "
            "Searched: {looked}.",
            name=name,
            faults=join(*faults, separator=_("; ")),
            looked=looked,
        ),
        _(
            "Download {there} on a machine with network access ({command} --local-dir FOLDER), copy the folder "
            "here and add vad_model=/PATH/TO/FOLDER; or use vad_model={silero} (pip install {silero}), or none.",
            there=there,
            command=command,
            silero=SILERO,
        ),
    )


def hub_url(hub: str) -> str:
    """Return where a hub is."""
    variable, usual = HUBS[hub]
    found = os.environ.get(variable) or usual
    return found if "://" in found else f"https://{found}"


def unreachable(hub: str) -> str:
    """Return why a hub cannot be reached, or "" when it answers."""
    if hub == "hf" and os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return _("HF_HUB_OFFLINE is set")
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    late = _("no response in {seconds:g} s", seconds=REACH_SECONDS)

    def settings() -> None:
        try:
            with urllib.request.urlopen(hub_url(hub), timeout=REACH_SECONDS):  # noqa: S310 - a setting of this machine
                answers.put("")
        except urllib.error.HTTPError as err:
            err.close()
            answers.put("")  # any response will do: the hub is reachable
        except (OSError, ValueError) as err:
            reason = getattr(err, "reason", err)
            answers.put(late if isinstance(reason, TimeoutError) else str(reason))

    threading.Thread(target=settings, name="hub", daemon=True).start()  # looking up a name obeys no timeout
    try:
        return answers.get(timeout=REACH_SECONDS)
    except queue.Empty:
        return late
