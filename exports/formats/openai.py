"""OpenAI chat fine-tuning, one conversation a line. https://platform.openai.com/docs/guides/supervised-fine-tuning"""

from .beside import DatasetInfo
from .checks import AtLeast, NoEmptyPart, NothingBlank
from .shape import SYSTEM, Given, LabelText, Lines, Prompt

openai = Lines(
    name="openai",
    label="OpenAI chat",
    shape={
        "messages": [
            {"role": "system", "content": Given("system_prompt")},
            {"role": "user", "content": Prompt("chat")},
            {"role": "assistant", "content": LabelText()},
        ]
    },
    settled_only=True,
    options=SYSTEM,
    checks=(AtLeast(10, "OpenAI"), NothingBlank("OpenAI"), NoEmptyPart("OpenAI", is_fatal=False)),
    beside=DatasetInfo(
        {"messages": "messages"},
        formatting="sharegpt",
        tags={
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    ),
)
