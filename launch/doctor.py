r"""Looks at this machine before a run does, and says how to mend what is wrong.

python -m launch.doctor
python -m launch.doctor --workdir=/mnt/runs --coordinator=10.0.0.2:8476

Ends with 1 where something fails. On a pod, run it on every host.
"""

import re
import sys

from absl import app, flags

from launch import examination

_WORKDIR = flags.DEFINE_string("workdir", "runs", "Where runs will write.")
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, to try to reach it; without it, the port that JAX "
  "would take is tried here.",
)
_SECONDS = flags.DEFINE_float(
  "seconds", 60.0, "How long JAX may take to find its devices.", lower_bound=1
)


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  address = _COORDINATOR.value
  if address and not re.fullmatch(r".+:\d{1,5}", address):
    raise app.UsageError(f"--coordinator={address} is not HOST:PORT")
  statuses = []
  for check in examination.checks(_WORKDIR.value, address, _SECONDS.value):
    print(examination.show(check), flush=True)
    statuses.append(check.status)
  failed, warned = statuses.count("fail"), statuses.count("warn")
  print(f"{failed} fail, {warned} to be looked at, {statuses.count('ok')} ok")
  sys.exit(failed > 0)


if __name__ == "__main__":
  app.run(main)
