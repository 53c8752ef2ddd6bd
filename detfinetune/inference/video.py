"""Reads and writes videos with OpenCV, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detfinetune.errors import DataError

Frame = NDArray[np.uint8]
"""RGB values 0-255, shape [H, W, 3]."""

# VP9 in MP4 plays in browsers, MPEG-4 part 2 in most players. OpenCV's wheels have no H.264
# encoder.
_CODECS = ("vp09", "mp4v")
_USUAL_FPS = 25.0
# Headers of sound videos overstate by a frame or two, where codecs hold frames back or a cut is not
# at a key frame, and those of variable frame rate, which are estimates, by a little more.
_FRAMES_TOLERATED = 2
_SHARE_TOLERATED = 0.01


@dataclass(frozen=True)
class VideoFormat:
    """Content of a video's header."""

    width: int
    height: int
    fps: float
    """Frames per second; 25 if the header does not say."""

    num_frames: int | None
    """Number of frames; None if the header does not say."""

    def lacks_frames(self, num_read: int) -> bool:
        """Whether clearly fewer frames were read than the header says."""
        said = self.num_frames or 0
        return said - num_read > max(_FRAMES_TOLERATED, _SHARE_TOLERATED * said)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[VideoFormat, Iterator[Frame]]]:
    """Yield a video's format and its frames, rotated as the header says.

    Raises:
        DataError: it cannot be opened, or has no frames.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        opened, first = capture.read() if capture.isOpened() else (False, None)
        if not opened or first is None:
            raise DataError(
                f"{path}: the video cannot be read. It may be truncated, or have a format that "
                "OpenCV does not support: convert it to MP4, or give a folder of its frames."
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        height, width = first.shape[:2]
        yield (
            VideoFormat(
                width, height, fps if fps > 0 else _USUAL_FPS, count if count > 0 else None
            ),
            _frames(capture, first),
        )
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, first: Frame) -> Iterator[Frame]:
    going, frame = True, first
    while going:
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        going, frame = capture.read()


class VideoWriter:
    """Writes frames of one size to an MP4 file; a context manager."""

    def __init__(self, path: Path, video: VideoFormat) -> None:
        """Open `path` for writing.

        Raises:
            DataError: this OpenCV has no codec for it.
        """
        # Both codecs halve the resolution of colours, so sides must be even.
        self._size = (video.width - video.width % 2, video.height - video.height % 2)
        for codec in _CODECS:
            self._writer = cv2.VideoWriter(
                str(path), cv2.VideoWriter.fourcc(*codec), video.fps, self._size
            )
            if self._writer.isOpened():
                return
        raise DataError(
            f"{path}: this OpenCV cannot write MP4 with {' or '.join(_CODECS)}. Give a folder of "
            "the video's frames instead."
        )

    def write(self, frame: Frame) -> None:
        """Add a frame, without an odd last row or column."""
        width, height = self._size
        self._writer.write(cv2.cvtColor(frame[:height, :width], cv2.COLOR_RGB2BGR))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.release()
