"""A folder for each label with its images in it, as ImageNet. https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html"""

from .shape import Folders
from .takes import IMAGES

imagefolder = Folders(
    name="imagefolder",
    label="Image folders (ImageNet)",
    shape=None,
    by_label=True,
    settled_only=True,
    takes=IMAGES,
)
