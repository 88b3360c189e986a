"""`launch.run --dry_run`: what a run will take, before it takes it.

The step of the first training of an experiment is compiled, for the devices
here or for those that `--topology` names, and nothing is trained or written.
"""

import dataclasses
import tempfile
from types import ModuleType
from typing import Any

from absl import app, flags
import jax

from launch import endings
from trainers import collectives, loop, planning, rehearsal, topologies

_DRY_RUN = flags.DEFINE_bool(
  "dry_run",
  False,
  "Compile one training step, say what it takes, and stop: parameters and "
  "where they live, memory of a device, FLOPs, what devices tell each other.",
)
_TOPOLOGY = flags.DEFINE_string(
  "topology",
  None,
  "With --dry_run: devices that need not be here to compile for, such as "
  f"{topologies.EXAMPLES}.",
)


class _ReachedError(Exception):
  """An experiment has come to its first training."""

  def __init__(self, training: rehearsal.Training):
    super().__init__()
    self.training = training


def asked() -> bool:
  """Whether there is to be a dry run.

  Raises:
    UsageError: a topology is named for a run that is none.
  """
  if _TOPOLOGY.value and not _DRY_RUN.value:
    raise app.UsageError("--topology is for --dry_run: nothing can run there")
  return _DRY_RUN.value


def devices() -> list[jax.Device]:
  """Those to compile for; to be called before JAX first looks for any.

  Raises:
    UsageError: there is no such topology, or its compiler is not installed.
  """
  if not _TOPOLOGY.value:
    return jax.devices()
  try:
    with endings.usage_errors():
      return topologies.find(_TOPOLOGY.value)
  except ModuleNotFoundError as error:
    raise app.UsageError(str(error)) from error


def run(module: ModuleType, config: Any, mesh: jax.sharding.Mesh) -> str:
  """Compiles the first training of an experiment, and describes it.

  Raises:
    UsageError: it trains nothing that is placed on devices, or its batch does
      not divide among them.
  """
  if not any(isinstance(x, loop.Config) for x in _parts(config)):
    raise app.UsageError(
      f"{module.__name__.rpartition('.')[2]} has nothing to plan with these "
      "settings: its trainings are small, many in one program, or none. Another"
      " --preset may have one; --preset=tiny shows in seconds that it works."
    )
  training = first_training(module, config)
  with endings.usage_errors():
    plan = planning.make(*training, mesh)
  return describe(plan, here=_TOPOLOGY.value is None)


def first_training(module: ModuleType, config: Any) -> rehearsal.Training:
  """What an experiment first asks of `loop.fit`; it is stopped there."""

  def reach(training):
    raise _ReachedError(training)

  with (
    tempfile.TemporaryDirectory() as workdir,
    rehearsal.instead_of_training(reach),
  ):
    try:
      module.run(config, workdir)
    except _ReachedError as reached:
      return reached.training
  raise app.UsageError("it ended without a training that could be planned")


def _parts(config: Any):
  """The values of the fields of a config, at every depth."""
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    yield value
    if dataclasses.is_dataclass(value):
      yield from _parts(value)


def describe(plan: planning.Plan, *, here: bool) -> str:
  """The plan as plain text, for a terminal.

  Args:
    plan: of a step.
    here: whether the devices are.
  """
  count = 1
  for size in plan.mesh.values():
    count *= size
  axes = ", ".join(f"{axis}={size}" for axis, size in plan.mesh.items())
  where = "which are here" if here else "not run on them"
  return "\n".join(
    [
      *_parameters(plan),
      "",
      *_memory(plan),
      "",
      *_step(plan),
      "",
      *_between(plan),
      "",
      f"compiled for {count} x {plan.device_kind} ({axes}), {where}, in "
      f"{plan.seconds:.0f} s",
    ]
  )


def _parameters(plan):
  head = ("parameter", "shape", "dtype", "sharding", "a device's")
  rows = [
    (x.path, "x".join(map(str, x.shape)), x.dtype, x.spec, size(x.bytes))
    for x in plan.leaves
  ]
  yield from _aligned([head, *rows])
  whole = ", ".join(x.path for x in plan.whole)
  yield f"{plan.parameters:,} parameters; " + (
    f"large and whole on every device: {whole}"
    if whole
    else "every large one is split"
  )


def _memory(plan):
  names = plan.memory._fields
  named = {"temporary": "activations, gradients"}
  rows = [(named.get(n, n), size(getattr(plan.memory, n))) for n in names]
  yield from _aligned([("memory of a device", ""), *rows])
  total = f"{size(plan.memory.total)} in all"
  if plan.capacity is None:
    yield f"{total}; what a {plan.device_kind} device has is not known"
  else:
    fits = "fits" if plan.memory.total <= plan.capacity else "does NOT fit"
    yield f"{total}: {fits} into {size(plan.capacity)}"


def _step(plan):
  shapes = [f"{n} {'x'.join(map(str, x))}" for n, x in plan.batch.items()]
  yield f"a step: {', '.join(shapes)}"
  yield f"  {sum(plan.flops.values()):.4g} FLOPs of the model"
  if plan.compiler_flops:
    yield (
      f"  {plan.compiler_flops:.4g} FLOPs of a device in all, as XLA counts: "
      "the body of a loop once"
    )
  if plan.tokens:
    yield (
      f"  {plan.tokens:,} tokens; 6 x parameters x tokens is "
      f"{6 * plan.parameters * plan.tokens:.4g} FLOPs"
    )
  if plan.ideal_seconds:
    yield f"  {1e3 * plan.ideal_seconds:.3g} ms, were all devices at their peak"


def _between(plan):
  rows = []
  for kind in collectives.KINDS:
    of_kind = [x for x in plan.collectives if x.kind == kind]
    if of_kind:
      largest = max((x.largest for x in of_kind), key=lambda x: x.bytes)
      rows.append((kind, str(len(of_kind)), *_array(largest)))
  head = ("between devices", "number", "largest", "bytes")
  yield from _aligned([head, *rows]) if rows else ["nothing between devices"]
  if plan.gathered:
    found = dict.fromkeys(
      f"{x.kind} {_array(x.largest)[0]}" for x in plan.gathered
    )
    yield f"a batch is put together on every device: {'; '.join(found)}"
  else:
    yield "no batch is put together on any device"


def _array(x):
  return f"{x.dtype}[{','.join(map(str, x.shape))}]", size(x.bytes)


def _aligned(rows):
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for row in rows:
    cells = (c.ljust(w) for c, w in zip(row, widths, strict=True))
    yield "  ".join(cells).rstrip()


def size(count: float) -> str:
  """Bytes as a person would write them: 512 B, 30.4 MiB, 95 GiB."""
  for unit in ("B", "KiB", "MiB", "GiB"):
    if count < 1024:
      return f"{count:.3g} {unit}"
    count /= 1024
  return f"{count:.3g} TiB"
