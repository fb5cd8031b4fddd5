"""Prompt and completion, as TRL's SFTTrainer and Together read it. https://huggingface.co/docs/trl/dataset_formats#prompt-completion"""

from .beside import DatasetInfo
from .checks import NothingBlank
from .shape import LabelText, Lines, Prompt

prompt_completion = Lines(
    name="prompt-completion",
    label="Prompt and completion (TRL)",
    shape={"prompt": Prompt("chat"), "completion": LabelText()},
    settled_only=True,
    checks=(NothingBlank("TRL", is_fatal=False),),
    beside=DatasetInfo({"prompt": "prompt", "response": "completion"}),
)
