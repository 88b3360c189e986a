"""What TensorBoard would show of a workdir."""

import pathlib
import struct

from tensorboardX.proto import event_pb2


def steps(workdir: pathlib.Path) -> dict[str, list[int]]:
  """Name to the steps at which it has a value, in the order of the files."""
  shown = {}
  for path in sorted((workdir / "tensorboard").iterdir()):
    for event in _events(path.read_bytes()):
      if event.session_log.status == event_pb2.SessionLog.START:
        shown = {
          name: [step for step in found if step < event.step]
          for name, found in shown.items()
        }
      for value in event.summary.value:
        shown.setdefault(value.tag, []).append(event.step)
  return shown


def _events(data):
  """The whole records of a file: length, sum, event, sum."""
  start = 0
  while start + 12 <= len(data):
    (size,) = struct.unpack_from("<Q", data, start)
    end = start + 12 + size + 4
    if end > len(data):
      return
    yield event_pb2.Event.FromString(data[start + 12 : end - 4])
    start = end
