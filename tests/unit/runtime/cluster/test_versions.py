"""What Ray itself says of other versions becomes one sentence with both, and the line that installs the right one."""

from __future__ import annotations

import sys

import pytest
import ray
from ray._private import utils

from byzer_magic.runtime.cluster import attach

PYTHON = ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("theirs", "their_python", "hint"),
    [
        ("2.49.0", PYTHON, "pip install 'ray==2.49.0'"),
        (ray.__version__, "3.13.1", f"Use an environment with Python 3.13.1 and ray=={ray.__version__}"),
        ("2.49.0", "3.13.1", "Use an environment with Python 3.13.1 and ray==2.49.0"),
    ],
)
def test_cluster_of_other_versions_is_described_with_both(theirs: str, their_python: str, hint: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        utils.check_version_info({"ray_version": theirs, "python_version": their_python}, "node 10.0.0.7")
    err = attach._refused("10.0.0.5:6379", str(refused.value))
    assert err.message == (
        f"The cluster at 10.0.0.5:6379 runs Ray {theirs} with Python {their_python}, "
        f"this process Ray {ray.__version__} with Python {PYTHON}."
    )
    assert hint in err.hint
