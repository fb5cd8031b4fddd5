"""What `datasets.load_dataset("json", …)` reads: text, label, label_id. https://huggingface.co/docs/datasets/loading"""

from .shape import Column, Label, LabelId, Lines

huggingface = Lines(
    name="huggingface",
    label="Hugging Face datasets",
    shape={"text": Column("content"), "label": Label(), "label_id": LabelId()},
    settled_only=True,
    spaced=True,
)
