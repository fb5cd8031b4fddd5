"""ShareGPT conversations, as LLaMA-Factory reads them. https://github.com/hiyouga/LLaMA-Factory/tree/main/data"""

from .beside import DatasetInfo
from .checks import NothingBlank
from .shape import SYSTEM, Given, LabelText, Lines, Prompt

sharegpt = Lines(
    name="sharegpt",
    label="ShareGPT",
    shape={
        "conversations": [
            {"from": "human", "value": Prompt("chat")},
            {"from": "gpt", "value": LabelText()},
        ],
        "system": Given("system_prompt"),
    },
    settled_only=True,
    options=SYSTEM,
    checks=(NothingBlank("LLaMA-Factory", is_fatal=False),),
    beside=DatasetInfo({"messages": "conversations"}, system="system", formatting="sharegpt"),
)
