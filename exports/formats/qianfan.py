"""Baidu Qianfan's prompt and response, a list a line. https://cloud.baidu.com/doc/WENXINWORKSHOP/s/Mliu6tlbc"""

from .checks import AtLeast, NothingBlank
from .shape import LabelText, Lines, Prompt

qianfan = Lines(
    name="qianfan",
    label="Qianfan",
    shape=[{"prompt": Prompt("chat"), "response": [[LabelText()]]}],
    settled_only=True,
    checks=(NothingBlank("Qianfan"), AtLeast(32, "Qianfan", is_fatal=False)),
)
