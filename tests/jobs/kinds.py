"""Jobs made to be watched, killed and cancelled; each writes down what happens to it in the file `journal`."""

import os
import signal
import time
from pathlib import Path

from labelhub.facts import Fact
from labelhub.jobs.kinds import job


class Refused(Fact):
    code = "refused_by_a_test"


class Passing(Fact):
    passes = True


def note(journal, word):
    """Append one line; short appends do not mix, whoever else writes."""
    with open(journal, "a") as file:
        file.write(f"{word}\n")


def notes(journal):
    return Path(journal).read_text().split() if Path(journal).exists() else []


def note_end(job, *, journal, **params):
    note(journal, job.state)


@job("tests.count", ended=note_end)
def count(progress, *, journal, seconds=0.0, name=""):
    """Work for `seconds`, reporting at every fiftieth of one; `journal`.pid says who does."""
    Path(f"{journal}.pid").write_text(str(os.getpid()))
    note(journal, f"begin{name}")
    steps = int(seconds * 50)
    for step in range(steps):
        time.sleep(0.02)
        progress(step, steps, f"step {step}")
    note(journal, f"end{name}")
    return {"steps": steps}


@job("tests.stubborn", ended=note_end)
def be_stubborn(progress, *, journal, seconds):
    """Work for `seconds` without ever listening."""
    note(journal, "begin")
    time.sleep(seconds)
    note(journal, "end")


@job("tests.kill", ended=note_end)
def kill_the_worker(progress, *, journal):
    note(journal, "begin")
    os.kill(os.getpid(), signal.SIGKILL)


@job("tests.break", ended=note_end)
def break_down(progress, *, journal, said="out of paper"):
    note(journal, "begin")
    raise RuntimeError(said)


@job("tests.exit", ended=note_end)
def leave(progress, *, journal):
    raise SystemExit(3)


@job("tests.refuse", ended=note_end)
def refuse(progress, *, journal):
    note(journal, "begin")
    raise Refused("there is nothing to do here")


@job("tests.pass", ended=note_end)
def be_busy(progress, *, journal):
    note(journal, "begin")
    raise Passing("they are having lunch")


@job("tests.again", ended=note_end)
def look(progress, *, journal, times):
    """Done after so many looks, ten seconds apart."""
    from labelhub.jobs.worker import Again  # this module is read before Django is ready

    note(journal, "look")
    if len(notes(journal)) < times:
        raise Again(10)


@job("tests.return", ended=note_end)
def give_back(progress, *, journal, number=1, odd=False):
    return {"number": object() if odd else number}


def end_badly(job, **params):
    raise LookupError("no such batch")


@job("tests.end_badly", ended=end_badly)
def end_badly_after(progress):
    raise Refused("nothing to do")
