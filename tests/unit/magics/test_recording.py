"""A recording that is answered after its cell: its request goes with the journal as the cell has said."""

from __future__ import annotations

import queue
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.client.journaling import HOW, How, using
from byzer_magic.errors import CommandError
from byzer_magic.journal.entry import Origin
from byzer_magic.magics.recording import Recording
from byzer_magic.widgets import recorder
from tests.servers.audio_files import wav_of
from tests.waiting import PATIENCE


def test_recording_is_asked_with_the_options_of_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: queue.Queue[How] = queue.Queue()
    failed: queue.Queue[str] = queue.Queue()

    def ask(_recorded: Any) -> Any:
        asked.put(HOW.get())
        raise CommandError("It ends here.")

    page = SimpleNamespace(send=lambda _kind, text="": failed.put(text))
    monkeypatch.setattr(recorder, "open_page", lambda *_: page)
    how = How(fresh=True, sample=2, origin=Origin("notebook", "a.ipynb", "cell 1"))
    with using(how):
        recording = Recording("whisper", ask, lambda _result: None)
    recording._take(wav_of(bytes(1600)), "talk.wav")
    assert failed.get(timeout=PATIENCE) == "It ends here."
    assert asked.get(timeout=PATIENCE) == how
