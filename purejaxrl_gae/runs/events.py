"""Files of tensorboard events, written whole records at a time and cut where a run goes on from a checkpoint."""

import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purejaxrl_gae.runs.growing_file import GrowingFile

PREFIX = "events.out.tfevents."
FLUSH_SECONDS = 10.0

# tensorboard tags as in CleanRL; anything else goes under losses/
TAGS = {
    "episodic_return": "charts/episodic_return",
    "episodic_length": "charts/episodic_length",
    "score_last100": "charts/score_last100",
    "steps_per_second": "charts/SPS",
    "learning_rate": "charts/learning_rate",
    "eval_return_mean": "charts/eval_return_mean",
    "eval_sampled_return_mean": "charts/eval_sampled_return_mean",
    "clip_fraction": "losses/clipfrac",
}


class EventFile:
    """One file of events.

    Args:
      folder: where it lies; made in the run's folder where it is a seed's.
      goes_on_from: environment step of the checkpoint that the run goes on from; a tensorboard that looks on drops what
        it has read beyond. None for a new run.
    """

    def __init__(self, folder: Path, goes_on_from: int | None):
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._file = GrowingFile(folder / f"{PREFIX}{time.time():.3f}.{socket.gethostname()}.{os.getpid()}")
        self._flushed, self._makes_folder = time.monotonic(), folder.name.startswith("seed_")
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if goes_on_from is not None:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=goes_on_from + 1, session_log=start))

    def add(self, values: Mapping[str, Any], env_steps: int) -> None:
        """Keeps a point of every curve that has a finite value; written within some seconds or by `flush`."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        # All values as one event: an event for each costs ten times as much.
        points = [
            Summary.Value(tag=TAGS.get(name, f"losses/{name}"), simple_value=value)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        ]
        self._add(Event(wall_time=time.time(), step=env_steps, summary=Summary(value=points)))

    @property
    def is_due(self) -> bool:
        """Enough time has passed since the last flush."""
        return time.monotonic() - self._flushed >= FLUSH_SECONDS

    def flush(self) -> None:
        """Writes what waits.

        Raises:
          OSError: it could not be written and goes on waiting.
        """
        self._flushed = time.monotonic()
        if self._makes_folder:
            self._file.path.parent.mkdir(exist_ok=True)
        self._file.flush()

    def _add(self, event: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        check = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(data))
        self._file.add(length + check[0] + data + check[1])


def cut_after(folder: Path, env_steps: int) -> None:
    """Cuts every file of events in a folder before its first record beyond a step, or its first that is torn.

    Raises:
      OSError: one cannot be read or cut.
    """
    if folder.is_symlink():  # a stranger's may lead anywhere
        return
    for path in folder.glob(f"{PREFIX}*"):
        if path.is_symlink():
            continue
        good = _length_until(path, env_steps)
        if good < path.stat().st_size:
            os.truncate(path, good)


def _length_until(path: Path, env_steps: int) -> int:
    """Counts the bytes before the first record beyond a step, or that is torn."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    good, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,), (check,) = struct.unpack("<Q", head[:8]), struct.unpack("<I", head[8:])
            if check != masked_crc32c(head[:8]) or good + length + 16 > size:
                break
            try:
                event = Event.FromString(file.read(length + 4)[:-4])
            except DecodeError:
                break
            if event.step > env_steps and not event.HasField("session_log"):
                break
            good += length + 16
    return good
