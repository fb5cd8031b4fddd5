"""Apache Parquet, compressed with zstd; `load_dataset("parquet", …)` finds a ClassLabel. https://parquet.apache.org"""

from .shape import Column, Columnar, Label, LabelId, Moment, SoftLabel

parquet = Columnar(
    name="parquet",
    label="Parquet",
    shape={
        "id": Column("uid"),
        "type": Column("type"),
        "text": Column("content"),
        "label": Label(),
        "label_id": LabelId(),
        "soft_label": SoftLabel(),
        "confidence": Column("confidence"),
        "locale": Column("locale"),
        "validated_at": Moment("validated_at"),
    },
)
