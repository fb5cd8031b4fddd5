"""OpenAI preference fine-tuning (DPO). https://platform.openai.com/docs/guides/direct-preference-optimization"""

from .checks import AtLeast, NoEmptyPart, NothingBlank
from .shape import SYSTEM, Answer, Given, Lines, Prompt
from .takes import PREFERENCES

openai_dpo = Lines(
    name="openai-dpo",
    label="OpenAI preferences (DPO)",
    shape={
        "input": {
            "messages": [
                {"role": "system", "content": Given("system_prompt")},
                {"role": "user", "content": Prompt("chat")},
            ]
        },
        "preferred_output": [{"role": "assistant", "content": Answer("chosen")}],
        "non_preferred_output": [{"role": "assistant", "content": Answer("rejected")}],
    },
    settled_only=True,
    takes=PREFERENCES,
    options=SYSTEM,
    checks=(AtLeast(10, "OpenAI"), NothingBlank("OpenAI"), NoEmptyPart("OpenAI", is_fatal=False)),
)
