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


class ReasonMissing(Fact):
    """The step must say why."""

    code = "reason_missing"


class LabelInUse(Fact):
    """The label stands in answers or verdicts."""

    code = "label_in_use"


class BadFile(Fact):
    """A file that cannot be read at all: empty, binary, of another encoding, of an unknown kind."""

    code = "bad_file"


class BadRow(Fact):
    """A row of a file that cannot become a task."""

    code = "bad_row"


class InvalidValue(Fact):
    """A field of a project, a source or a label holds what its rules refuse; `details["field"]` names it."""

    code = "invalid_value"


class NameTaken(Fact):
    """There is one of that name already."""

    code = "name_taken"


class AlreadyThere(Fact):
    """An item of that id is there with other content; `details["ids"]` names them."""

    code = "already_there"


class StillNeeded(Fact):
    """It cannot go while something that must stay stands on it; the message says what."""

    code = "still_needed"
