"""Tests for launch/doctor.py, examination.py and trainers/machine.py."""

import pathlib
import re
import socket

from absl.testing import absltest

from launch import checkup, examination
from tests.launch import command
from trainers import machine

PROJECT = """
[project]
dependencies = ["jax", "orbax-checkpoint>=0.1"]
[project.optional-dependencies]
tpu = ["jax[tpu]"]
cuda = ["triton==3.6.0 ; sys_platform == 'linux'"]
"""
CONSTRAINTS = """# What CI ran.
chex==0.1.92
jax==0.10.2 ; python_version < "3.12"
jax==0.12.0.1 ; python_version >= "3.12"
"""


class DoctorTest(absltest.TestCase):
  def test_this_machine_is_looked_at_in_one_command(self):
    workdir = self.create_tempdir().full_path
    result = command.launch(f"--workdir={workdir}/runs", module="launch.doctor")
    fails = re.findall(r"(?m)^fail ", result.stdout)
    self.assertEqual(result.returncode, int(bool(fails)), result.stdout)
    for name in ("python", "jax", "devices", "disk", "cpu", "extras"):
      self.assertRegex(result.stdout, rf"(?m)^(ok|warn|fail) +{name} ")
    self.assertIn("(cpu)", result.stdout)
    self.assertEqual(list(pathlib.Path(workdir).iterdir()), [])

  def test_a_coordinator_that_is_none_is_refused(self):
    result = command.launch("--coordinator=here", module="launch.doctor")
    self.assertIn("--coordinator=here is not HOST:PORT", result.stderr)

  def test_what_is_required_is_read_from_the_project(self):
    required, extras = examination.requirements(PROJECT)
    self.assertEqual(required, ["jax", "orbax-checkpoint"])
    self.assertEqual(extras, {"tpu": ("libtpu",), "cuda": ("triton",)})

  def test_pins_are_those_of_a_python(self):
    old = {"chex": "0.1.92", "jax": "0.10.2"}
    self.assertEqual(examination.pins(CONSTRAINTS, (3, 11)), old)
    new = {"chex": "0.1.92", "jax": "0.12.0.1"}
    self.assertEqual(examination.pins(CONSTRAINTS, (3, 12)), new)

  def test_a_long_finding_is_wrapped_below_itself(self):
    check = checkup.Check("disk", "fail", "full " * 30, "free some space")
    first, *rest = examination.show(check).split("\n")
    self.assertStartsWith(first, "fail  disk")
    self.assertStartsWith(rest[0], " " * 22)
    self.assertEndsWith(rest[-1], "fix: free some space")


class MachineTest(absltest.TestCase):
  def test_a_tpu_is_told_from_other_cards_of_its_maker(self):
    root = pathlib.Path(self.create_tempdir().full_path)
    cards = {"tpu": ("0x1ae0", "0x0062"), "network": ("0x1ae0", "0x0042")}
    for name, parts in cards.items():
      card = root / "sys/bus/pci/devices" / name
      card.mkdir(parents=True)
      for file, text in zip(("vendor", "device"), parts, strict=True):
        (card / file).write_text(f"{text}\n")
    (root / "dev").mkdir()
    (root / "dev/nvidia0").touch()
    (root / "dev/nvidiactl").touch()
    names = [pathlib.Path(x).name for x in machine.device_files(str(root))]
    self.assertEqual(names, ["nvidia0", "tpu"])

  def test_a_port_is_taken_while_another_listens(self):
    with socket.create_server(("", 0)) as server:
      port = server.getsockname()[1]
      self.assertEqual(machine.bind(port), "Address already in use")
      self.assertEqual(machine.connect("localhost", port), "")
    self.assertEqual(machine.bind(port), "")
    self.assertEqual(machine.connect("localhost", port), "Connection refused")

  def test_a_folder_that_does_not_exist_is_judged_by_its_parent(self):
    root = pathlib.Path(self.create_tempdir().full_path)
    found = machine.disk(f"{root}/a/b", megabytes=1)
    self.assertEqual((found.path, found.error), (str(root), ""))
    self.assertGreater(found.speed, 0)
    self.assertEqual(list(root.iterdir()), [])

  def test_a_file_is_no_folder(self):
    path = self.create_tempfile().full_path
    self.assertEqual(machine.disk(f"{path}").error, "Not a directory")

  def test_a_jax_that_does_not_answer_is_ended(self):
    self.assertEqual(machine.ask_jax(0.01).error, "no answer in 0 s")

  def test_what_is_not_installed_has_no_version(self):
    found = machine.versions(["jax", "no-such-package"])
    self.assertIsNone(found["no-such-package"])
    self.assertIsNotNone(found["jax"])

  def test_this_process_may_use_some_of_the_cores_and_of_the_memory(self):
    count, mine = machine.cores()
    self.assertBetween(mine, 0, count)
    total, free = machine.memory()
    self.assertBetween(free, 1, total)


if __name__ == "__main__":
  absltest.main()
