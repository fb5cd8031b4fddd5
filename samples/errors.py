"""What can stand in the way of curation; each is a fact that a door translates."""

from labelhub.facts import Fact


class NotAllowed(Fact):
    """The project role of the one who asks does not reach that far."""

    code = "not_allowed"


class NotSettled(Fact):
    """There is no verdict on the task yet."""

    code = "not_settled"


class OwnWork(Fact):
    """An annotator may not approve what only he annotated."""

    code = "own_work"


class WrongState(Fact):
    """The step does not lead on from the state the row is in."""

    code = "wrong_state"


class LabelInUse(Fact):
    """The label stands in answers or verdicts."""

    code = "label_in_use"


class BadFile(Fact):
    """A file that cannot be read at all: empty, binary, of another encoding, of an unknown kind."""

    code = "bad_file"


class BadRow(Fact):
    """A row of a file that cannot become a task."""

    code = "bad_row"
