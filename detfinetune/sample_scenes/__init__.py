"""A generator of aerial scenes with three classes of an urban-sprawl survey.

The experiment `satellite` trains on it, so that it needs no other data. `settings.py` has all
numbers that determine how difficult the scenes are.
"""

from detfinetune.sample_scenes.settings import CLASSES
from detfinetune.sample_scenes.write import sample_scenes_folder, write_sample_scenes

__all__ = ["CLASSES", "sample_scenes_folder", "write_sample_scenes"]
