"""The slot of one request: freed when the request ends, with what that shows about its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from byzer_magic import errors
from byzer_magic.routing.breaker import is_fault
from byzer_magic.runtime.admission import Admission


@contextmanager
def slot_of(admission: Admission, ticket: int, ended: Callable[[bool], None], *, judges: bool) -> Iterator[int]:
    """Give the worker of an admitted request, and free its slot once the request has ended.

    Args:
        admission: has admitted it.
        ticket: the request.
        ended: called with whether it has failed.
        judges: whether its end shows if its worker works: workers of an API are all the same.
    """
    failed, works = True, None
    try:
        yield admission.worker_of(ticket)
        failed, works = False, True
    except (GeneratorExit, asyncio.CancelledError):
        failed = False  # cancelled by the client
        raise
    except errors.ByzerError as err:
        works = False if is_fault(err) else None
        raise
    finally:
        admission.release(ticket, failed=failed, works=works if judges else None)
        ended(failed)
