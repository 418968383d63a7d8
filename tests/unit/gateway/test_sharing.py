"""A port that several processes share is one cluster's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from byzer_magic.errors import ConfigError
from byzer_magic.gateway import sharing
from byzer_magic.gateway.server import listen
from tests.servers.process import free_port

OTHER = """
import sys
from byzer_magic.gateway import sharing
from byzer_magic.gateway.server import listen
held = sharing.share(int(sys.argv[1]), "first")
listening = listen("127.0.0.1", int(sys.argv[1]), shared=True)
print("listens", flush=True)
sys.stdin.read()
"""


def test_port_is_shared_within_a_cluster_only_and_until_the_process_ends() -> None:
    port = free_port()
    command = [sys.executable, "-c", OTHER, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "listens\n"
        listen("127.0.0.1", port, shared=True).close()  # the system itself would let both in
        with pytest.raises(ConfigError, match=f"Port {port} is taken by the endpoint of another Ray"):
            sharing.share(port, "second")
        sibling, elsewhere = sharing.share(port, "first"), sharing.share(port + 1, "second")
        assert sibling
        assert elsewhere
        sibling.close()
        elsewhere.close()
        other.kill()
    free = sharing.share(port, "second")
    assert free
    free.close()
