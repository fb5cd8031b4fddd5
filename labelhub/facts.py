"""Why something could not be done, said plainly: the domain raises a Fact, each door translates it."""


class Fact(Exception):
    """A refusal with a stable `code`, a sentence for people and `details` for programs.

    A subclass is one fact; its `code` is the name the native API shows. One that `passes` may be otherwise in a
    moment: a job that raises it is tried again.
    """

    code = "refused"
    passes = False

    def __init__(self, message: str, **details):
        super().__init__(message)
        self.message = message
        self.details = details
