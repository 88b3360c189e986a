"""Who has come, before JAX waits for everybody.

JAX aborts when a process does not come, and does not say which. So the
processes first meet on the coordinator's port: process 0 listens, each of the
others says who it is, and all learn who came, or who did not.
"""

from collections.abc import Iterator
import contextlib
import json
import os
import socket
import time
from typing import NamedTuple

RETRY = 0.2  # seconds between attempts to reach process 0


class Member(NamedTuple):
  """A process that came.

  Attributes:
    index: of the process, from 0.
    count: how many processes it expects, itself included.
    host: the name of its machine.
    pid: of the process there.
  """

  index: int
  count: int
  host: str
  pid: int


def meet(
  address: str, index: int, count: int, seconds: float
) -> tuple[Member, ...]:
  """Returns all processes, in order, once all have come.

  Args:
    address: `host:port`, reached by all; process 0 listens on the port.
    index: of this process, in [0, count).
    count: of all processes.
    seconds: how long to wait.

  Raises:
    TimeoutError: not all came in time; names those who are missing. The same
      in every process that came.
    ValueError: two processes have one index, or expect different counts.
    OSError: process 0 cannot listen on the port.
  """
  me = Member(index, count, socket.gethostname(), os.getpid())
  deadline = time.monotonic() + seconds
  if count == 1:
    return (me,)
  answer = (
    _host(address, me, deadline) if index == 0 else _call(address, me, deadline)
  )
  if "missing" in answer:
    raise TimeoutError(_missing(address, seconds, **answer))
  if "error" in answer:
    raise ValueError(answer["error"])
  return tuple(Member(*member) for member in answer["members"])


def _host(address, me, deadline):
  """Process 0: hears everybody out, and tells all what came of it."""
  _, _, port = address.rpartition(":")
  heard = []
  with contextlib.ExitStack() as stack:
    server = stack.enter_context(
      socket.create_server(("", int(port)), backlog=me.count)
    )
    members, error = {0: me}, None
    while len(members) < me.count and error is None:
      left = deadline - time.monotonic()
      if left <= 0:
        break
      server.settimeout(left)
      with contextlib.suppress(TimeoutError):
        connection, _ = server.accept()
        stack.enter_context(connection)
        member = _heard(connection)
        if member is not None:
          heard.append(connection)
          error = _quarrel(members, member)
          members.setdefault(member.index, member)
    answer = _answer(members, me.count, error)
    for connection in heard:
      _say(connection, answer)
  return answer


def _call(address, me, deadline):
  """The other processes: call process 0 until it answers."""
  host, _, port = address.rpartition(":")
  why = "it was not tried"
  while (left := deadline - time.monotonic()) > 0:
    try:
      with socket.create_connection((host, int(port)), left) as connection:
        _say(connection, me)
        # A little longer than process 0 waits for the last to come.
        connection.settimeout(left + 5)
        for answer in _lines(connection):
          return answer
    except OSError as error:
      why = error
    time.sleep(RETRY)
  return {"missing": [0], "members": [me], "why": str(why)}


def _answer(members, count, error):
  missing = sorted(set(range(count)) - set(members))
  came = [members[i] for i in sorted(members)]
  if error:
    return {"error": error}
  return {"members": came} | ({"missing": missing} if missing else {})


def _quarrel(members, member):
  first = members[0]
  if member.count != first.count:
    return (
      f"process {member.index} on {member.host} expects {member.count} "
      f"processes, process 0 on {first.host} expects {first.count}: start all "
      "with the same number"
    )
  if member.index in members:
    there = members[member.index]
    return (
      f"two processes say they are number {member.index}: pid {there.pid} on "
      f"{there.host} and pid {member.pid} on {member.host}; each has its own"
    )
  if not 0 <= member.index < member.count:
    return f"process {member.index} is not in [0, {member.count})"
  return None


def _missing(address, seconds, missing, members, why=None):
  came = ", ".join(f"process {m[0]} on {m[2]} (pid {m[3]})" for m in members)
  lines = [
    f"after {seconds:g} s at {address}, missing: "
    + ", ".join(f"process {i}" for i in missing),
    f"came: {came}",
  ]
  if why:
    lines.append(
      f"process 0 cannot be reached: {why}; is it running, and does a firewall "
      "let the port through?"
    )
  return "\n".join(
    [
      *lines,
      "Start the missing ones (their own output says why they ended), or wait "
      "longer.",
    ]
  )


def _heard(connection):
  """What a caller says of itself; None if it is none of ours."""
  connection.settimeout(5)
  try:
    for fields in _lines(connection):
      return Member(*fields)
  except (OSError, TypeError):
    return None


def _say(connection, message):
  with contextlib.suppress(OSError):  # it is gone, and will be told by JAX
    connection.sendall(json.dumps(message).encode() + b"\n")


def _lines(connection) -> Iterator:
  with connection.makefile("rb") as file:
    for line in file:
      with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):
        yield json.loads(line)
