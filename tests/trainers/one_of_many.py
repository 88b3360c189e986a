"""One process of several: trains the toy problem, and says what it saw.

python -m tests.trainers.one_of_many host:port COUNT INDEX SECONDS WORKDIR
"""

import json
import sys

import jax

from tests.trainers import toy
from trainers import distributed, loop, metrics, optimizers

STEPS = 20


def main(address, count, index, seconds, workdir):
  jax.config.update("jax_num_cpu_devices", 1)
  try:
    members = distributed.start(
      distributed.Config("on", address, int(count), int(index), float(seconds))
    )
  except TimeoutError as error:
    sys.exit(str(error))
  tx = optimizers.make(optimizers.Config(learning_rate=0.1), STEPS)
  config = loop.Config(num_steps=STEPS, log_every=1, save_every=5)
  state = loop.fit(toy.problem(), tx, config, workdir)
  distributed.barrier("trained", 30)
  _, losses = metrics.read(workdir, "loss")
  said = {
    "devices": jax.device_count(),
    "table": distributed.table(members),
    "losses": losses.tolist(),
    "params": distributed.to_host(state.params)["w"].tolist(),
    "agreed": distributed.from_first("said", lambda: f"by {index}"),
  }
  try:
    distributed.from_first("refused", lambda: int("no number"))
  except ValueError as error:
    said["refused"] = str(error)
  if int(index) < int(count) - 1:  # the last one never comes
    try:
      distributed.barrier("lonely", 0.5)
    except TimeoutError as error:
      said["lonely"] = str(error)
  print(json.dumps(said), flush=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
