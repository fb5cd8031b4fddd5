"""What stands around the application when `manage.py serve` runs it: collected static files, and a web server."""

import hashlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from copy import deepcopy
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

NOT_SERVED = [
    "redoc"
]  # of drf-spectacular's pages we show Swagger alone; 5 MB of the other would be compressed for nobody
STOP_SECONDS = 10  # what an open download has when the server is told to stop


def collect_static() -> bool:
    """Collect the static files where they are new or changed since the last time; True where they were."""
    stamp = Path(f"{settings.STATIC_ROOT}.stamp")
    fingerprint = _fingerprint()
    if stamp.exists() and stamp.read_text() == fingerprint and Path(settings.STATIC_ROOT).is_dir():
        return False
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=NOT_SERVED)
    stamp.write_text(fingerprint)
    return True


def _fingerprint():
    """A digest of name, size and time of every static file: 4 ms, where collecting takes seconds."""
    digest = hashlib.sha256(str(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = os.stat(storage.path(name))
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def check_free(host: str, port: int) -> None:
    """OSError where `port` is taken: the web server's own sockets would share it with whoever has it."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not stopped by what a last run left closing
        probe.bind(address)


def web_server(host: str, port: int, *, workers: int, threads: int):
    """A granian server of the WSGI application in `workers` processes; `serve(target_loader=…)` blocks until its end."""
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server import Server

    # Fresh processes, not forks: this one has job threads, and a fork would copy their locks and connections.
    multiprocessing.set_start_method("spawn", force=True)
    return Server(
        "labelhub.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=deepcopy(settings.LOGGING),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )


def load_application():
    """Run in each web process: the application, and a watch that ends the process when the one that made it is gone."""
    os.setpgid(0, 0)  # Ctrl-C is for the process that made it, which ends its web processes in order
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()

    from labelhub.wsgi import application

    return application


def _end_with_parent():
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()  # kill -9 leaves the parent no time to say goodbye
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(1)
