"""OpenAI chat fine-tuning, one conversation a line. https://platform.openai.com/docs/guides/supervised-fine-tuning"""

from .shape import LabelText, Lines, Prompt

openai = Lines(
    name="openai",
    label="OpenAI chat",
    shape={
        "messages": [
            {"role": "user", "content": Prompt("chat")},
            {"role": "assistant", "content": LabelText()},
        ]
    },
    settled_only=True,
)
