"""Tests for launch/checkup.py: findings that are made up."""

from absl.testing import absltest, parameterized

from launch import checkup
from trainers.machine import Disk, Gpu, Jax

GIB = 2**30
H100 = Gpu("NVIDIA H100", "580.65", total=81559, used=4)
IN_DEV = ["/dev/nvidia0"]
CUDA = {
  "jaxlib": "0.10.2",
  "jax-cuda13-plugin": "0.10.2",
  "jax-cuda13-pjrt": "0.10.2",
}


class CheckupTest(parameterized.TestCase):
  def check(self, found, status, text="", fix=""):
    self.assertEqual(found.status, status, found)
    self.assertIn(text, found.found)
    self.assertIn(fix, found.fix)
    self.assertEqual(bool(found.fix), status != "ok", found)

  def test_an_old_python_fails(self):
    self.check(checkup.python((3, 10, 4)), "fail", "3.11 is the oldest", "make")
    self.check(checkup.python((3, 11, 7)), "ok", "3.11.7")

  def test_a_missing_package_fails_and_another_version_warns(self):
    pinned = {"optax": "0.2.8", "numpy": "2.4.6"}
    installed = {"optax": "0.2.8", "numpy": "2.4.6", "chex": "0.1"}
    self.check(checkup.packages(installed, pinned), "ok", "3, as in")
    other = checkup.packages(installed | {"optax": "0.1"}, pinned)
    self.check(other, "warn", "optax 0.1, not 0.2.8", "-c constraints.txt")
    missing = checkup.packages(installed | {"numpy": None}, pinned)
    self.check(missing, "fail", "missing: numpy", "pip install")

  @parameterized.parameters(
    ("0.10.2", "0.10.2", "ok"),
    ("0.10.2", "0.10.1", "warn"),
    ("0.9.2", "0.10.2", "fail"),
    ("0.10.2", None, "fail"),
    (None, "0.10.2", "fail"),
  )
  def test_jaxlib_may_not_be_newer_than_jax(self, ours, library, status):
    self.check(checkup.jax({"jax": ours, "jaxlib": library}), status)

  def test_a_plugin_of_another_version_fails_with_the_command(self):
    wrong = checkup.plugin(CUDA | {"jax-cuda13-pjrt": "0.9.0"}, [H100], IN_DEV)
    self.check(
      wrong, "fail", "jax-cuda13-pjrt 0.9.0", "jax-cuda13-pjrt==0.10.2"
    )

  def test_two_plugins_fail(self):
    two = CUDA | {"jax-cuda12-plugin": "0.10.2"}
    self.check(checkup.plugin(two, [], []), "fail", "two of them", "uninstall")

  def test_an_accelerator_without_its_plugin_fails(self):
    library = {"jaxlib": "0.10.2"}
    self.check(checkup.plugin(library, [H100], []), "fail", "GPU", "[cuda]")
    half = {"jaxlib": "0.10.2", "jax-cuda13-plugin": "0.10.2"}
    self.check(checkup.plugin(half, [], IN_DEV), "fail", "not all", "[cuda]")
    tpu = ["/sys/bus/pci/devices/0000:00:05.0"]
    self.check(checkup.plugin(library, [], tpu), "fail", "libtpu", "[tpu]")
    found = checkup.plugin(library | {"libtpu": "0.0.42"}, [], tpu)
    self.check(found, "ok", "libtpu 0.0.42")

  def test_plugins_are_fine_where_all_agree_and_where_none_is_needed(self):
    self.check(checkup.plugin(CUDA, [H100], IN_DEV), "ok", "jax-cuda13-pjrt")
    self.check(checkup.plugin({"jaxlib": "0.10.2"}, [], []), "ok", "none")

  def test_a_driver_that_is_missing_or_old_fails(self):
    missing = checkup.driver([], IN_DEV, False, CUDA)
    self.check(missing, "fail", "libcuda.so.1 cannot be loaded", "--gpus all")
    old = H100._replace(driver="550.54.14")
    self.check(
      checkup.driver([old], IN_DEV, True, CUDA), "fail", "at least 580", "580"
    )
    for_12 = {"jax-cuda12-plugin": "0.10.2"}
    self.check(checkup.driver([old], IN_DEV, True, for_12), "ok", "550")
    silent = checkup.driver([], IN_DEV, True, CUDA)
    self.check(silent, "warn", "nvidia-smi does not answer")
    self.check(checkup.driver([], [], False, {}), "ok", "no NVIDIA GPU")

  def test_an_accelerator_that_jax_does_not_find_fails(self):
    cpu = Jax("cpu", 1, "cpu")
    self.check(checkup.devices(cpu, [], []), "ok", "1 x cpu")
    unseen = checkup.devices(cpu, [H100], IN_DEV)
    self.check(unseen, "fail", "although there is: NVIDIA H100")
    silent = Jax(error="no answer in 60 s")
    self.check(checkup.devices(silent, [], []), "fail", "no answer", "pod")
    some = checkup.devices(Jax("gpu", 1, "NVIDIA H100"), [H100] * 8, IN_DEV)
    self.check(some, "warn", "1 x NVIDIA H100 (gpu) of 8", "CUDA_VISIBLE")

  def test_memory_that_others_hold_fails_unless_jax_takes_less(self):
    busy, found = H100._replace(used=40_000), Jax("gpu", 1, "NVIDIA H100")
    check = lambda gpus, environment: checkup.device_memory(
      found, gpus, environment
    )
    self.check(check([H100], {}), "ok", "75 %")
    self.check(check([H100, busy], {}), "fail", "40000 of 81559", "PREALLOCATE")
    less = {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".5"}
    self.check(check([busy], less), "ok", "50 %")
    off = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    self.check(check([busy], off), "ok", "0 %")

  def test_little_memory_of_the_host_warns(self):
    self.check(checkup.memory(8 * GIB, 4 * GIB), "ok", "4.0 of 8.0 GiB")
    self.check(checkup.memory(8 * GIB, GIB), "warn", "1.0 of 8.0 GiB", "end")

  def test_a_taken_port_fails_and_that_of_tpus_warns(self):
    taken = checkup.port(8476, "Address already in use", on_tpu=False)
    self.check(taken, "fail", "8476 cannot be opened: Address", "--coordinator")
    self.check(checkup.port(8476, "", on_tpu=False), "ok", "8476 is free")
    blocked = checkup.port(8482, "", on_tpu=True)
    self.check(blocked, "warn", "firewall of a v6e", ":8476 on every host")

  def test_a_coordinator_that_does_not_answer_fails(self):
    self.check(checkup.coordinator("a:1", ""), "ok", "a:1 answers")
    self.check(
      checkup.coordinator("a:1", "timed out"), "fail", "timed out", "f"
    )

  def test_a_full_or_unwritable_disk_fails_and_a_slow_one_warns(self):
    good = Disk("/runs", 100 * GIB, 500 * 2**20)
    self.check(checkup.disk(good), "ok", "/runs: 100.0 GiB free, 500 MiB/s")
    self.check(
      checkup.disk(good._replace(free=GIB // 2)), "fail", "0.5", "free"
    )
    self.check(checkup.disk(good._replace(speed=2**20)), "warn", "1 MiB/s")
    denied = good._replace(error="Permission denied")
    self.check(checkup.disk(denied), "fail", "Permission", "--workdir")

  def test_few_cores_of_many_warn(self):
    self.check(checkup.cpu(16, 16), "ok", "16 of 16")
    self.check(checkup.cpu(16, 1.5), "warn", "1.5 of 16", "taskset")

  def test_tensorflow_beside_a_gpu_warns(self):
    here = {"tensorflow": "2.20", "tensorflow-cpu": None}
    self.check(
      checkup.rivals(here, [H100]), "warn", "tensorflow", "set_visible"
    )
    self.check(checkup.rivals(here, []), "ok", "tensorflow")

  def test_variables_that_mislead_jax_are_named(self):
    check = lambda variables, gpus=(H100,): checkup.environment(variables, gpus)
    self.check(check({}), "ok", "nothing")
    self.check(check({"JAX_PLATFORMS": "cpu"}), "ok", "JAX_PLATFORMS=cpu")
    paths = {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
    self.check(check(paths), "warn", "/usr/local/cuda", "unset LD_LIBRARY_PATH")
    self.check(check({"CUDA_VISIBLE_DEVICES": ""}), "fail", "hides", "unset")

  def test_extras_are_listed_and_a_pair_that_breaks_warns(self):
    extras = {"hf": ["tokenizers"], "cuda": ["triton", "jax-triton"]}
    pair = {"triton": "3.6.0", "jax-triton": "0.3.1", "tokenizers": None}
    self.check(checkup.optional(pair, extras), "ok", "here: cuda; absent: hf")
    newer = pair | {"triton": "3.9.0"}
    self.check(
      checkup.optional(newer, extras), "warn", "3.9.0", "triton==3.6.0"
    )


if __name__ == "__main__":
  absltest.main()
