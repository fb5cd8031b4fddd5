"""Label Studio's tasks with their annotations, to import there. https://labelstud.io/guide/task_format"""

from .beside import CHOICES, TEXT, LabellingInterface
from .checks import NothingBlank
from .shape import Array, Column, LabelList
from .takes import LABELLED_TEXTS

label_studio = Array(
    name="label-studio",
    label="Label Studio",
    shape={
        "data": {TEXT: Column("content"), "id": Column("uid"), "locale": Column("locale")},
        "annotations": [
            {
                "result": [
                    {"from_name": CHOICES, "to_name": TEXT, "type": "choices", "value": {"choices": LabelList()}},
                ]
            }
        ],
    },
    settled_only=True,
    takes=LABELLED_TEXTS,
    checks=(NothingBlank("Label Studio", is_fatal=False),),
    beside=LabellingInterface(),
)
