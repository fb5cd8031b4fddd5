"""Stanford Alpaca: instruction, input, output. https://github.com/tatsu-lab/stanford_alpaca"""

from .shape import Column, LabelText, Lines, Prompt

alpaca = Lines(
    name="alpaca",
    label="Alpaca",
    shape={"instruction": Prompt("instruction"), "input": Column("content"), "output": LabelText()},
    settled_only=True,
    spaced=True,
)
