"""Peak memory of one export in a process of its own: `python -m tests.bench.memory PROJECT FORMAT` prints two numbers of KiB.

The first is the process before it begins, with Django loaded and the connection open; the second its peak.
"""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelhub.settings")

import django  # noqa: E402

django.setup()

from exports import files, formats  # noqa: E402
from samples.models import Project, Sample  # noqa: E402


def peak() -> int:
    """The most this process has held so far, in KiB; getrusage would count the one that started it."""
    return int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0])


def main(project, format):
    samples = Sample.objects.filter(project=Project.objects.get(name=project)).approved()
    if isinstance(formats.get(format), formats.Columnar):
        import pyarrow.parquet  # noqa: F401  (what it weighs is not what the export adds)
    for _ in files.file_of(samples.filter(pk=samples.first().pk), format=format).chunks():
        pass
    idle = peak()
    for _ in files.file_of(samples, format=format).chunks():
        pass
    print(idle, peak())


if __name__ == "__main__":
    main(*sys.argv[1:])
