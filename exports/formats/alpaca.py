"""Stanford Alpaca: instruction, input, output. https://github.com/tatsu-lab/stanford_alpaca"""

from .beside import DatasetInfo
from .checks import NothingBlank
from .shape import SYSTEM, Column, Given, LabelText, Lines, Prompt

alpaca = Lines(
    name="alpaca",
    label="Alpaca",
    shape={
        "instruction": Prompt("instruction"),
        "input": Column("content"),
        "output": LabelText(),
        "system": Given("system_prompt"),
    },
    settled_only=True,
    spaced=True,
    options=SYSTEM,
    checks=(NothingBlank("LLaMA-Factory", is_fatal=False),),
    beside=DatasetInfo({"prompt": "instruction", "query": "input", "response": "output"}, system="system"),
)
