"""Many processes as one: how they start, wait for each other, and agree."""

from collections.abc import Callable
import dataclasses
import json
from typing import Any, Literal

import jax
from jax._src import clusters, distributed
from jax.experimental import multihost_utils

from trainers import roll_call

SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Config:
  """How processes find each other.

  Attributes:
    mode: "on" needs other processes to be known; "auto" starts where they are
      named below or where JAX finds a cluster (Cloud TPU, SLURM, GKE, Open
      MPI); "off" is this process alone.
    coordinator: `host:port` of process 0; None is what JAX finds.
    num_processes: None is what JAX finds.
    process_id: of this one, from 0; None is what JAX finds.
    seconds: to wait for the last to come.
  """

  mode: Literal["auto", "on", "off"] = "auto"
  coordinator: str | None = None
  num_processes: int | None = None
  process_id: int | None = None
  seconds: float = SECONDS


def start(config: Config) -> tuple[roll_call.Member, ...]:
  """Meets the other processes and starts JAX's own runtime among them.

  To be called once, before JAX first looks for devices.

  Returns:
    All processes; empty where there is one and no cluster.

  Raises:
    ValueError: who the others are is not known or contradictory.
    TimeoutError: not all came; names those who are missing.
  """
  if config.mode == "off":
    return ()
  found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
    config.coordinator,
    config.num_processes,
    config.process_id,
    None,
    None,
    config.seconds,
  )
  address, count, index, local_devices = found
  known = address is not None, count is not None, index is not None
  if not any(known) and config.mode == "auto":
    return ()
  if not all(known):
    raise ValueError(_unknown(address, count, index))
  _check(address, count, index)
  members = roll_call.meet(address, index, count, config.seconds)
  jax.distributed.initialize(
    address,
    count,
    index,
    local_devices,
    initialization_timeout=int(config.seconds),
    shutdown_timeout_seconds=60,
  )
  return members


def table(members: tuple[roll_call.Member, ...]) -> str:
  """A line for each process: its machine and its devices."""
  lines = [f"{'process':>7}  {'host':24}  {'pid':>7}  devices"]
  for member in members:
    mine = [d for d in jax.devices() if d.process_index == member.index]
    kind = mine[0].device_kind if mine else "none"
    lines.append(
      f"{member.index:>7}  {member.host:24}  {member.pid:>7}  "
      f"{len(mine)} x {kind}"
    )
  return "\n".join(lines)


def is_first() -> bool:
  """Whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def to_host(tree: Any) -> Any:
  """The arrays of a tree as numpy, whole in every process.

  Every process must call it, as their parts travel between them.
  """
  return multihost_utils.process_allgather(tree, tiled=True)


def barrier(name: str, seconds: float = SECONDS) -> None:
  """Waits until every process has come to the barrier of this name.

  Args:
    name: used once in a run.
    seconds: to wait.

  Raises:
    TimeoutError: not all came in time; names those who are missing.
  """
  client = distributed.global_state.client
  if client is None:
    return
  place = f"simplex/barrier/{name}"
  client.key_value_set(f"{place}/{jax.process_index()}", "")
  try:
    client.wait_at_barrier(place, int(1000 * seconds))
  except jax.errors.JaxRuntimeError as error:
    came = {
      int(k.rpartition("/")[2]) for k, _ in client.key_value_dir_get(place)
    }
    missing = sorted(set(range(jax.process_count())) - came)
    raise TimeoutError(
      f"after {seconds:g} s at the barrier {name!r}, missing: "
      + (", ".join(f"process {i}" for i in missing) or f"nobody ({error})")
    ) from error


def from_first(
  name: str, make: Callable[[], object], seconds: float = SECONDS
) -> object:
  """What `make` returns in process 0, or the ValueError that it raises there.

  Args:
    name: used once in a run.
    make: called in process 0 alone; its value goes through JSON.
    seconds: for which the others wait.

  Raises:
    ValueError: `make` raised it; the same in every process.
    TimeoutError: process 0 did not answer.
  """
  client = distributed.global_state.client
  if client is None:
    return make()
  place = f"simplex/from_first/{name}"
  if is_first():
    try:
      value = make()
    except ValueError as error:
      client.key_value_set(place, json.dumps({"error": str(error)}))
      barrier(name, seconds)  # all know, before this process ends
      raise
    client.key_value_set(place, json.dumps({"value": value}))
    return value
  try:
    answer = json.loads(
      client.blocking_key_value_get(place, int(1000 * seconds))
    )
  except jax.errors.JaxRuntimeError as error:
    raise TimeoutError(
      f"after {seconds:g} s process 0 has not answered {name!r}"
    ) from error
  if "error" in answer:
    barrier(name, seconds)
    raise ValueError(answer["error"])
  return answer["value"]


def _unknown(address, count, index):
  given = dict(coordinator=address, num_processes=count, process_id=index)
  lacking = [name for name, value in given.items() if value is None]
  return (
    f"no cluster was found, and not given: {', '.join(lacking)}. Give "
    "coordinator=host:port, num_processes and process_id in every process, or "
    "start under SLURM, Open MPI, GKE or on a Cloud TPU"
  )


def _check(address, count, index):
  host, colon, port = address.rpartition(":")
  if not (host and colon and port.isdigit()):
    raise ValueError(f"coordinator={address!r} is not host:port")
  if not 0 <= index < count:
    raise ValueError(f"process_id={index} is not in [0, {count})")
