"""Read a data set for training or evaluation, and tell the user what it holds."""

from __future__ import annotations

from detfinetune import console
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import say_what_was_taken
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.misread import refuse_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.summary import dataset_summary


def prepare_dataset(data: DataConfig, *, brief: bool = False) -> LabelledDataset:
    """Read a data set of any format and refuse one that cannot be used.

    Args:
        data: where the labels are and how to read them.
        brief: print one line instead of the tables: the run that is resumed or evaluated has
            shown them.

    Raises:
        ConfigError: `data.root` is missing, or another key leads nowhere.
        DataError: the data cannot be used.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
    """
    dataset = read_dataset(data)
    if not dataset.has_images:
        raise DataError(
            "data.image_sizes gives sizes without images, which cannot be trained on. Give the "
            "images with data.images=FOLDER and leave data.image_sizes out."
        )
    if brief:
        counts = dataset.ledger.counts.values()
        fixed, rejected = (sum(getattr(c, k) for c in counts) for k in ("fixed", "rejected"))
        console.say(
            f"Data in {dataset.root}: {dataset.found} ({dataset.format}; {fixed} labels fixed, "
            f"{rejected} rejected)"
        )
        return dataset
    say_what_was_taken(dataset)
    refuse_misread(dataset)
    console.say(dataset_summary(dataset))
    return dataset
