"""The projects' scope, for rows that leave."""

from exports.permissions import NEEDS
from labelhub.long_lists import LongList
from samples.admin import scoped
from samples.permissions import NEEDS as SAMPLES_NEED


class ScopedAdmin(scoped.ScopedAdmin):
    """As in samples; the batch stands for what hangs on it."""

    needs = {**SAMPLES_NEED, **NEEDS}

    def may(self, request, permission, obj=None):
        return super().may(request, permission, getattr(obj, "batch", obj))


class LongScopedAdmin(LongList, ScopedAdmin):
    """The same for a table that may hold millions of rows."""
