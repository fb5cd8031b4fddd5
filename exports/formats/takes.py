"""Groups of task types that formats ask for."""

from samples import task_types

_menu = [task_types.get(name) for name in task_types.names()]

PREFERENCES = frozenset(kind.name for kind in _menu if kind.form == "pair")
LABELLED_TEXTS = frozenset(kind.name for kind in _menu if kind.has_labels and kind.sample_type == "TEXT")
IMAGES = frozenset(kind.name for kind in _menu if kind.sample_type == "IMAGE")
