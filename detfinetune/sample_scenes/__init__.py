"""A generator of aerial scenes with three classes of an urban-sprawl survey.

It stands in for a user's data: `satellite` trains on it anywhere. `settings.py` holds every number
that says how hard the scenes are.
"""

from detfinetune.sample_scenes.settings import CLASSES
from detfinetune.sample_scenes.write import sample_scenes_folder, write_sample_scenes

__all__ = ["CLASSES", "sample_scenes_folder", "write_sample_scenes"]
