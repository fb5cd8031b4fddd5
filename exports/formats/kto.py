"""KTO's unpaired preferences: a preference is two lines. https://huggingface.co/docs/trl/dataset_formats#unpaired-preference"""

from .checks import NothingBlank
from .shape import Answer, Lines, Prompt
from .takes import PREFERENCES

kto = Lines(
    name="kto",
    label="KTO",
    shape={"prompt": Prompt("chat"), "completion": Answer("chosen"), "label": True},
    then={"prompt": Prompt("chat"), "completion": Answer("rejected"), "label": False},
    records=2,
    settled_only=True,
    takes=PREFERENCES,
    checks=(NothingBlank("TRL", is_fatal=False),),
)
