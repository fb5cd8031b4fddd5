"""COCO: images in a folder, and one JSON that says which category each is. https://cocodataset.org/#format-data"""

from .shape import Folders
from .takes import IMAGES

coco = Folders(
    name="coco",
    label="COCO",
    shape=None,
    by_label=False,
    settled_only=True,
    takes=IMAGES,
)
