"""SQLite as this process should have it, before the first connection is opened."""

import _sqlite3
import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MEMSTATUS = 9  # SQLITE_CONFIG_MEMSTATUS, https://sqlite.org/c3ref/c_config_covering_index_scan.html


def let_threads_run() -> bool:
    """Have SQLite not count the memory it uses; True where it no longer does.

    The counters stand behind one lock for the whole process, which every thread takes for every allocation: two threads
    that each read on a connection of their own took as long as one after the other, and now take half of it.

    SQLite can only be told before it starts, and Python starts it on import. So it is stopped for a moment, which is
    allowed only while nobody has a connection: that is, while it holds no memory.
    """
    if not sys.platform.startswith("linux"):  # elsewhere ctypes may pass the arguments of a variadic function wrongly
        return False
    try:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_memory_used.restype = ctypes.c_int64
        if library.sqlite3_memory_used() or library.sqlite3_shutdown():
            return False
        done = library.sqlite3_config(MEMSTATUS, 0) == 0
        library.sqlite3_initialize()
    except (OSError, AttributeError):  # an SQLite that is part of the interpreter and shows nothing of itself
        return False
    return done


_turn = threading.Lock()


@contextmanager
def turn() -> Iterator[None]:
    """Around a transaction that many threads begin at once: on SQLite one of this process begins, the others stand in line.

    SQLite itself keeps no line: who finds the one writer's place taken sleeps and looks again, and may find it taken for
    longer than it is ready to wait. Elsewhere, and inside a transaction, nobody waits here.
    """
    from django.db import connection  # not before there are settings, which import this module

    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
    else:
        with _turn:
            yield
