"""What can stand in the way of an export or a fine-tune; each is a fact that a door translates."""

from labelhub.facts import Fact


class EmptyBatch(Fact):
    """Nothing was selected, or nothing selected is approved and free."""

    code = "empty_batch"


class NotApproved(Fact):
    """Some of the samples asked for are unknown or not approved; `details["ids"]` names them."""

    code = "not_approved"


class UnknownTasks(Fact):
    """Some of the tasks asked for are unknown here; `details["ids"]` names them."""

    code = "unknown_tasks"


class AlreadyExported(Fact):
    """Some of the samples asked for are carried by another batch; `details["ids"]` names them."""

    code = "already_exported"


class UnknownFormat(Fact):
    code = "unknown_format"


class MissingExtra(Fact):
    """The format needs a package that is not installed."""

    code = "missing_extra"


class NoneFits(Fact):
    """The format cannot hold what was selected; `details["takes"]` names the task types it takes."""

    code = "none_fits"


class Refusable(Fact):
    """The format's consumer would refuse the file; the message says why. `details["flaws"]` are all the reasons."""

    code = "refusable"


class MediaMissing(Fact):
    """A sample's image is not stored any more, or is none."""

    code = "media_missing"


class BadOptions(Fact):
    """Options the format does not have; `details["known"]` names those it has."""

    code = "bad_options"


class BadPrompts(Fact):
    """A project's own prompts that an export cannot use."""

    code = "bad_prompts"


class BadSplit(Fact):
    """Ratios that are not three shares adding up to exactly 1."""

    code = "bad_split"


class BadShards(Fact):
    """A number of shards that is none, or more than there are rows."""

    code = "bad_shards"


class InShards(Fact):
    """The batch has no single file; `details["files"]` names those it has."""

    code = "in_shards"


class BadCompression(Fact):
    """A compression that is not known, or one for a ZIP, which has its own."""

    code = "bad_compression"


class UnknownDestination(Fact):
    code = "unknown_destination"


class DestinationRefused(Fact):
    """The destination is there and says no: a wrong key, no such bucket. Trying again cannot help."""

    code = "destination_refused"


class NotReady(Fact):
    """The batch has no file (yet, or any more)."""

    code = "not_ready"


class AlreadyStarted(Fact):
    """A fine-tune of this batch is under way or done."""

    code = "already_started"


class UnknownProvider(Fact):
    code = "unknown_provider"


class Unsuitable(Fact):
    """The provider cannot train on this batch; the message says why."""

    code = "unsuitable"


class NotAskedYet(Unsuitable):
    """A model at a provider is judged by what it has said, and it was not asked about these texts yet."""

    code = "not_asked_yet"


class UnknownModel(Fact):
    code = "unknown_model"


class NothingToAsk(Fact):
    """No task was chosen for the model to guess about."""

    code = "nothing_to_ask"


class NoCurve(Fact):
    """Nobody has measured how far the model may be trusted."""

    code = "no_curve"


class OutOfReach(Fact):
    """The model is never as right as was asked for; `details["best"]` is how right it is."""

    code = "out_of_reach"


class UnsafeAddress(Fact):
    """An address that the hub does not call: it may lead into its own network."""

    code = "unsafe_address"


class UnreadableKey(Fact):
    """The key of a provider account was encrypted under another SECRETS_KEY."""

    code = "unreadable_key"


class ProviderRefused(Fact):
    """The provider understood and said no; the message quotes it, `details["status"]` is its HTTP status."""

    code = "provider_refused"


class ProviderDown(Fact):
    """The provider cannot be reached, or is broken; whether it did what it was asked is not known."""

    code = "provider_down"
    passes = True


class ProviderTimeout(ProviderDown):
    """The provider was reached and did not answer in time."""

    code = "provider_timeout"


class ProviderBusy(ProviderDown):
    """The provider did not do what it was asked, and may in a moment: it was never reached, or wants fewer requests."""

    code = "provider_busy"


class WrongState(Fact):
    """The step does not lead on from the state the row is in."""

    code = "wrong_state"
