"""A dataset as Qianfan's console exports it: every prompt, a list a line, with its response or without; a ZIP of one file.

https://cloud.baidu.com/doc/WENXINWORKSHOP/s/Mliu6tlbc
"""

from .shape import Column, Lines, Responses

qianfan_dataset = Lines(
    name="qianfan_dataset",
    label="Qianfan dataset",
    shape=[{"prompt": Column("content"), "response": Responses()}],  # type: ignore[arg-type]  # a list a line
    is_zipped=True,
)
qianfan_source = Lines(
    name="qianfan_source",
    label="Qianfan dataset, prompts only",
    shape=[{"prompt": Column("content")}],  # type: ignore[arg-type]
    is_zipped=True,
)
