"""GET /api/v1/exports?format=jsonl through the web server of `manage.py serve`, to a client on the same machine."""

import http.client
import os
import socket
import subprocess
import sys
import time

from labelhub.accounts.keys import bearer_of, create_key
from labelhub.accounts.models import User

COMMAND = [sys.executable, "manage.py", "serve", "--no-worker", "--port"]


class Server:
    """A hub of its own on a free port, over the bench's database."""

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        user = User.objects.get_or_create(username="bench", defaults={"is_superuser": True})[0]
        self.headers = {"Authorization": f"Bearer {bearer_of(*create_key(user))}"}
        self.process = subprocess.Popen(
            [*COMMAND, str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
        )
        for _ in range(1200):
            try:
                if self.get("/healthz")[2] == 200:
                    return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the hub did not come up")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def get(self, path: str) -> tuple[float, float, int]:
        """Seconds to the first byte of the body and to its last, and the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        start = time.perf_counter()
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        answer.read(1)
        first = time.perf_counter() - start
        while answer.read(1 << 20):
            pass
        last = time.perf_counter() - start
        connection.close()
        return first, last, answer.status
