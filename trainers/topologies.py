"""Devices that are not here, to compile for: pods of TPUs, and GPUs.

The compilers come in packages and need no device: libtpu for TPUs, and
jax-cuda13-pjrt beside jax-cuda13-plugin for GPUs.
"""

from collections.abc import Sequence
import importlib.util
import os
import pathlib
import re

import jax
from jax.experimental import topologies

# Without them libtpu asks the network for the machine that it is on.
TPU_ENVIRONMENT = {
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_WORKER_ID": "0",
}
GPU_ENVIRONMENT = {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
H200 = pathlib.Path(__file__).with_name("h200.txtpb").read_text()
# One chip; they differ in their memory alone.
H100 = (
  H200.replace("143771000000", "84942979072")
  .replace("4800000000000", "3352320000000")
  .replace("NVIDIA H200", "NVIDIA H100 80GB HBM3")
)
GPUS = {"h100": H100, "h200": H200}
TPUS = {"v5e": 2, "v5p": 3, "v6e": 2}  # axes of their topologies
GPUS_PER_HOST = 8
EXAMPLES = "v5p:4x4x8, v5e:4x4, v6e:2x2, h100:8, h200:16"


def find(name: str) -> Sequence[jax.Device]:
  """The devices of a topology, which programs can be compiled for, not run on.

  To be called before JAX first looks for devices: from then on it sees the CPU
  alone, and no accelerator that may be here is touched.

  Args:
    name: a kind and its shape, such as `v5p:4x4x8`; for GPUs, their number.

  Raises:
    ValueError: there is no such topology.
    ModuleNotFoundError: the compiler is not installed; says how to get it.
  """
  kind, _, shape = name.partition(":")
  sizes = re.fullmatch(r"\d+(x\d+)*", shape) and [*map(int, shape.split("x"))]
  axes = TPUS.get(kind, 1)
  if kind not in TPUS | GPUS or not sizes or len(sizes) != axes:
    raise ValueError(f"--topology={name} is not like one of: {EXAMPLES}")
  jax.config.update("jax_platforms", "cpu")
  try:
    return _tpus(name) if kind in TPUS else _gpus(GPUS[kind], *sizes)
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(f"--topology={name}: {error}") from error


def compiler_options(mesh: jax.sharding.Mesh) -> dict[str, bool]:
  """What the compiler is to be told for the devices of a mesh."""
  absent_gpu = (
    mesh.devices.flat[0].platform == "gpu" and jax.default_backend() != "gpu"
  )
  # XLA finds the tiles of these products by trying them on the GPU.
  return {"xla_gpu_enable_triton_gemm": False} if absent_gpu else {}


def _tpus(name: str) -> Sequence[jax.Device]:
  _need("libtpu", "libtpu")
  os.environ.update(TPU_ENVIRONMENT)
  return topologies.get_topology_desc(name, "tpu").devices


def _gpus(target: str, count: int) -> Sequence[jax.Device]:
  for module in ("xla_cuda13", "xla_cuda13.xla_cuda_plugin"):
    _need(
      f"jax_plugins.{module}", "--no-deps jax-cuda13-plugin jax-cuda13-pjrt"
    )
  os.environ.update(GPU_ENVIRONMENT)
  hosts, rest = divmod(count, GPUS_PER_HOST)
  if rest and hosts:
    raise ValueError(
      f"--topology: {count} GPUs do not fill hosts of {GPUS_PER_HOST}"
    )
  return topologies.get_topology_desc(
    "GPU",
    platform="cuda",
    topology=f"{max(hosts, 1)}x1x{min(count, GPUS_PER_HOST)}",
    target_config=target,
  ).devices


def _need(module: str, packages: str) -> None:
  try:
    found = importlib.util.find_spec(module)
  except ModuleNotFoundError:  # its parent is missing
    found = None
  if found is None:
    raise ModuleNotFoundError(
      f"the compiler for it is not installed: {packages.split()[-1]}\n"
      f"  python -m pip install {packages} -c constraints.txt"
    )
