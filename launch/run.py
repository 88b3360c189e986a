r"""Runs the experiment of one paper and writes its report.

python -m launch.run --experiment=random_computation
python -m launch.run --experiment=random_computation --preset=tiny \
    --workdir=runs/try --set=pretrain.num_steps=20 --set=model.width=32

The same command continues a run that was stopped. Exit codes: 130 after Ctrl-C,
143 after SIGTERM or a preemption, both saved; 1 after an error.
"""

import difflib
import functools
import importlib
import json
import pathlib
import pkgutil
import time
from types import ModuleType
from typing import Any

from absl import app, flags
import jax

from launch import dry_run, endings, experiments, overrides, process
from trainers import (
  attempts,
  distributed,
  files,
  profiling,
  progress,
  reports,
  sharding,
)

NAMES = sorted(m.name for m in pkgutil.iter_modules(experiments.__path__))

_EXPERIMENT = flags.DEFINE_string(
  "experiment", None, f"The paper, one of: {', '.join(NAMES)}."
)
_PRESET = flags.DEFINE_string(
  "preset",
  "default",
  "Sizes to start from: default (minutes on two CPU cores), tiny (seconds), "
  "paper (the paper's own), or another preset that the experiment has.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Where to write; runs/<experiment> unless given."
)
_SET = flags.DEFINE_multi_string("set", [], "A field: dotted.path=value.")
_SEED = flags.DEFINE_integer("seed", None, "The same as --set=seed=...")
_LIST = flags.DEFINE_bool("list", False, "List the experiments and stop.")


def load(name: str) -> ModuleType:
  """Imports an experiment by name.

  Raises:
    ValueError: there is none of that name.
  """
  if name not in NAMES:
    near = difflib.get_close_matches(name or "", NAMES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
      f"--experiment={name} is not one of: {', '.join(NAMES)}{hint}"
    )
  return importlib.import_module(f"launch.experiments.{name}")


def preset(module: ModuleType, name: str) -> Any:
  """The config that a preset names.

  Raises:
    ValueError: the experiment has no such preset.
  """
  presets = {"default": module.Config, "tiny": module.tiny} | {
    fn.__name__: fn for fn in (module.paper, *getattr(module, "PRESETS", ()))
  }
  if name not in presets:
    raise ValueError(f"--preset={name} is not one of: {', '.join(presets)}")
  return presets[name]()


def claim_workdir(workdir: pathlib.Path, config: Any) -> bool:
  """Makes `workdir` the home of `config`, or finds that it is already.

  Returns:
    Whether a run of this config was there before, whatever its pace.

  Raises:
    ValueError: it cannot be written, or another config lives there; the
      message shows the difference.
  """
  files.prepare_workdir(workdir)
  path = workdir / "config.json"
  # Through JSON, so that both sides have its types.
  mine = json.loads(json.dumps(overrides.flatten(config)))
  if {x.name for x in workdir.iterdir()} <= {path.name}:  # nothing has run
    files.write_atomic(path, json.dumps(mine, indent=2) + "\n")
    return False
  there, pace = files.read_json(path), overrides.pace(config)
  same = {name: value for name, value in there.items() if name in pace}
  changes = overrides.difference(there, mine | same)
  if changes:
    raise ValueError(
      f"{workdir} holds a run with another config:\n  "
      + "\n  ".join(changes)
      + "\nGive this run another --workdir, drop the flags that differ to "
      f"continue that one, or remove {workdir} to start over."
    )
  return True


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  if _LIST.value:
    print(_catalogue())
    return
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{_EXPERIMENT.value}")
  with endings.usage_errors():
    module = load(_EXPERIMENT.value)
    config = preset(module, _PRESET.value)
    seed = [] if _SEED.value is None else [f"seed={_SEED.value}"]
    config = overrides.apply(config, _SET.value + seed)
    process.profile_steps()  # or says why
  if dry_run.asked():
    process.prepare(alone=True)
    with endings.usage_errors():
      mesh = sharding.make_mesh(process.model_devices(), dry_run.devices())
    print(dry_run.run(module, config, mesh))
    return
  process.prepare()
  with endings.usage_errors():
    claim = functools.partial(claim_workdir, workdir, config)
    continues = distributed.from_first("workdir", claim)
  if distributed.is_first():
    _announce(config, workdir, continues)
  with endings.of_run(workdir), process.mesh():
    _execute(module, config, workdir)


def _execute(module: ModuleType, config: Any, workdir: pathlib.Path) -> None:
  started = time.monotonic()
  with profiling.requested(process.profile_steps()):
    report = module.run(config, str(workdir))
  seconds = time.monotonic() - started
  trained = attempts.table(workdir)
  if trained:
    report = report._replace(tables=[*report.tables, trained])
  reports.write(
    report,
    workdir,
    preset=_PRESET.value,
    config=overrides.flatten(config),
    seconds=seconds,
  )
  distributed.barrier("report")  # no process ends before it is written
  if not distributed.is_first():
    return
  print(reports.summary(report))
  if trained:
    print(f"\n{attempts.page(trained)}\n")
  print(f"{progress.duration(seconds)}; open {workdir / 'report.html'}")


def _catalogue() -> str:
  rows = (f"  {name:24}{_first_line(name)}" for name in NAMES)
  return "\n".join(["experiments:", *rows])


def _first_line(name: str) -> str:
  return load(name).__doc__.strip().splitlines()[0]


def _announce(config: Any, workdir: pathlib.Path, continues: bool) -> None:
  device = jax.devices()[0].device_kind
  leaves = overrides.flatten(config)
  cells = [f"{name}={_short(value)}" for name, value in leaves.items()]
  column = max(map(len, cells)) + 2
  across = max(1, 100 // column)
  print(
    f"{_EXPERIMENT.value} ({_PRESET.value}) on {jax.device_count()} x {device}"
  )
  for i in range(0, len(cells), across):
    print(
      "  " + "".join(c.ljust(column) for c in cells[i : i + across]).rstrip()
    )
  print(f"{'continues in' if continues else 'writes to'} {workdir}", flush=True)


def _short(value: Any) -> str:
  return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
  app.run(main)
