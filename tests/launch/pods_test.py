"""The scripts for pods, with a cloud that only notes what it is told."""

import os
import pathlib
import re
import subprocess

from absl.testing import absltest
import yaml

from launch import endings, run
from tests.launch import command

PODS = command.ROOT / "launch" / "pods"


class PodsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.bin = pathlib.Path(self.create_tempdir().full_path)
    self.calls = self.bin / "calls"

  def fake(self, name, then=""):
    """A command of this name that notes its arguments, and does `then`."""
    path = self.bin / name
    note = f'printf "%s\\n" "$(basename "$0") $*" >> {self.calls}'
    path.write_text(f"#!/usr/bin/env bash\n{note}\n{then}\n")
    path.chmod(0o755)

  def script(self, name, *arguments, **variables):
    environment = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}"}
    return subprocess.run(
      [str(PODS / name), *arguments],
      env=environment | variables,
      capture_output=True,
      text=True,
      timeout=60,
    )

  def test_a_tpu_run_starts_on_all_hosts_with_the_open_port(self):
    self.fake("gcloud")
    result = self.script(
      *("tpu_pod.sh", "run", "--experiment=abrupt_learning", "--set=seed=1"),
      NAME="slice",
      ZONE="here",
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    call = self.calls.read_text()
    self.assertIn("tpu-vm ssh slice --worker=all --command=", call)
    self.assertIn("JAX_COORDINATOR_PORT=8476", call)
    self.assertIn("--experiment=abrupt_learning --set=seed=1", call)

  def test_a_tpu_script_without_a_name_says_what_it_needs(self):
    result = self.script("tpu_pod.sh", "run", NAME="")
    self.assertNotEqual(result.returncode, 0)
    self.assertIn("the name of the slice", result.stderr)

  def test_a_tpu_script_without_a_verb_shows_how_it_is_used(self):
    result = self.script("tpu_pod.sh", NAME="slice", ZONE="here")
    self.assertEqual(result.returncode, 2)
    self.assertIn("launch/pods/tpu_pod.sh install", result.stderr)

  def test_a_slurm_job_that_was_preempted_is_queued_again(self):
    self.fake("srun", f"exit {endings.PREEMPTED}")
    self.fake("scontrol")
    result = self.script("slurm.sh", "--preset=tiny", SLURM_JOB_ID="7")
    self.assertEqual(result.returncode, endings.PREEMPTED)
    self.assertIn("-m launch.run --distributed=on --preset=tiny", self.called())
    self.assertIn("scontrol requeue 7", self.called())

  def test_a_slurm_job_that_ended_is_not(self):
    self.fake("srun", "exit 1")
    self.fake("scontrol")
    self.assertEqual(self.script("slurm.sh", SLURM_JOB_ID="7").returncode, 1)
    self.assertNotIn("requeue", self.called())

  def test_the_job_set_runs_as_many_pods_as_its_slice_has_hosts(self):
    job_set = yaml.safe_load((PODS / "gke_jobset.yaml").read_text())
    job = job_set["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    sides = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x")
    chips = int(sides[0]) * int(sides[1]) * int(sides[2])
    container = pod["containers"][0]
    self.assertEqual(job["parallelism"], job["completions"])
    per_host = container["resources"]["limits"]["google.com/tpu"]
    self.assertEqual(job["parallelism"] * per_host, chips)

  def test_every_flag_in_the_scripts_exists(self):
    for path in PODS.iterdir():
      lines = re.findall(r"launch\.run(.*)", path.read_text())
      for name in re.findall(r"--([a-z_]+)=", " ".join(lines)):
        self.assertIn(name, run.flags.FLAGS, path.name)

  def called(self):
    return self.calls.read_text()


if __name__ == "__main__":
  absltest.main()
