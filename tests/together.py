"""People who come at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

Answer = TypeVar("Answer")


def at_once(count: int, act: Callable[[int], Answer]) -> list[Answer]:
    """What `count` threads get from `act(number)`, begun together, each with connections of its own; raises what one raises."""
    ready = threading.Barrier(count)

    def go(number: int) -> Answer:
        try:
            ready.wait()
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(go, range(count)))
