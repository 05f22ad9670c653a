"""Room one: labelled data from files or built-in sets, decoded, cached, encoded and split. No training here."""

from trimtab.data.cache import cache_directory
from trimtab.data.dataset import Dataset, Source
from trimtab.data.encoding import CategoryEncoding, NumberEncoding, TableEncoder
from trimtab.data.images import decode_image, resize_image
from trimtab.data.schema import FloatArray, Table
from trimtab.data.sources import open_source
from trimtab.data.splits import Split, make_split

__all__ = [
    "CategoryEncoding",
    "Dataset",
    "FloatArray",
    "NumberEncoding",
    "Source",
    "Split",
    "Table",
    "TableEncoder",
    "cache_directory",
    "decode_image",
    "make_split",
    "open_source",
    "resize_image",
]
