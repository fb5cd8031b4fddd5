"""TRL's explicit preference format, conversational. https://huggingface.co/docs/trl/dataset_formats#preference"""

from .checks import NothingBlank
from .shape import SYSTEM, Answer, Given, Lines, Prompt
from .takes import PREFERENCES

trl_preference = Lines(
    name="trl-preference",
    label="TRL preferences",
    shape={
        "prompt": [
            {"role": "system", "content": Given("system_prompt")},
            {"role": "user", "content": Prompt("chat")},
        ],
        "chosen": [{"role": "assistant", "content": Answer("chosen")}],
        "rejected": [{"role": "assistant", "content": Answer("rejected")}],
    },
    settled_only=True,
    takes=PREFERENCES,
    options=SYSTEM,
    checks=(NothingBlank("TRL", is_fatal=False),),
)
