"""Neural cellular automata: a training step, and tasks an hour, over torch's.

The automaton of Xu & Miikkulainen 2025 (https://arxiv.org/abs/2506.15746),
30 channels, 10 steps, a loss at each. The peer is the same in plain PyTorch,
written for this comparison.

A step is of 16 grids of 30 x 30. Tasks are the sizes of the first 32 of the
paper's that are at most 12 x 12, with six rollouts in each update: ours are
lanes of one program for each of three padded sizes, theirs are trained one
after another at their own size. Tasks an hour are for 1500 updates each: time
to compile, measured, and 1500 times that of an update, the fastest of three
measurements on each side.

On two quiet cores of an AMD EPYC with AVX-512, three runs: 628 to 682 tasks an
hour with 11 s to compile, torch 154 to 172, so 3.8 to 4.1 times. A second
thread gains torch nothing here; with a process of it on each core the ratio is
2.0. By CPU time of one core it is 2.2 (323 against 145, loaded); the products
alone would take 57 % of ours, at the rate of a large product; five padded sizes
would be 3 % faster. A step takes 0.52 to 0.58 times torch's.

--cpu_devices should be the number of cores: a device is a core for lanes, and
a step shares its grids among them.
"""

from collections.abc import Callable
import functools
import importlib.util
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from launch import timing
from simplex.losses import grids
from simplex.models import automaton
from trainers import accumulation, lanes, sharding

CONFIG = automaton.Config()
BATCH, SIDE = 16, 30
SIDES = (7, 9, 11, 9, 3, 10, 11, 12, 10, 10, 10, 10, 10, 10, 10, 10)
SIDES += (9, 3, 10, 5, 10, 7, 9, 12, 12, 11, 3, 10, 9, 6, 7, 7)
ROLLOUTS, UPDATES = 6, 1500
BUCKETS = (7, 10, 12)
CHUNK = 10


def run() -> list[dict]:
  """Rows with seconds, rates, and theirs over ours."""
  torch = importlib.util.find_spec("torch") is not None
  step_fns = {
    "simplex": simplex_step(loss),
    "simplex, whole batch": simplex_step(loss, accumulate=False),
    "simplex, gradient of XLA's convolution": convolution_step(),
  }
  if torch:
    step_fns["torch"] = torch_step(BATCH, SIDE)
  seconds = timing.medians(step_fns)
  rows = [
    {
      "name": f"automaton/step, {name}",
      "seconds": s,
      "grid_steps_per_second": BATCH * CONFIG.steps / s,
    }
    | ({"ratio": seconds["torch"] / s} if torch else {})
    for name, s in seconds.items()
  ]
  rates = {"simplex, lanes": simplex_tasks()}
  if torch:
    rates["torch, one after another"] = torch_tasks()
  for name, (compiling, update) in rates.items():
    hour = 3600 * len(SIDES) / (compiling + UPDATES * update)
    rows.append(
      {
        "name": f"automaton/tasks, {name}",
        "compile_seconds": compiling,
        "seconds": update,
        "tasks_per_hour": hour,
      }
    )
  if torch:
    theirs = rows[-1]["tasks_per_hour"]
    for row in rows[-2:]:
      row["ratio"] = row["tasks_per_hour"] / theirs
  else:
    missing = "torch is not installed"
    rows.append({"name": "automaton/torch", "missing": missing})
  return rows


def batch(side: int, count: int) -> dict[str, jax.Array]:
  """Random grids and what they should become."""
  shape = count, side, side
  inputs, targets = jax.random.randint(
    jax.random.key(side), (2, *shape), 0, CONFIG.num_colors
  )
  return {"inputs": inputs, "targets": targets, "mask": jnp.ones(shape)}


def loss(params, data, *, key, step):
  """Of a rollout of each grid, in which random cells hold back."""
  del step
  drop_key, run_key = jax.random.split(key)
  inputs, targets, mask = data["inputs"], data["targets"], data["mask"]
  _, right = automaton.rollout(
    CONFIG,
    params,
    automaton.init_state(CONFIG, inputs),
    mask,
    run_key,
    drop=automaton.random_drop(CONFIG, drop_key, inputs.shape[:1]),
    targets_YX=targets,
  )
  return grids.nats(right, mask), {}


def simplex_step(
  loss_fn: Callable, *, accumulate: bool = True
) -> Callable[[], object]:
  """A gradient, the grids shared among the devices, one by one on each."""
  mesh = sharding.make_mesh()
  params = automaton.init_params(CONFIG, jax.random.key(0))
  size = 1 if accumulate else BATCH // mesh.size

  def piece_loss(params, piece):
    data, key = piece
    return loss_fn(params, data, key=jax.random.wrap_key_data(key), step=0)

  def on_device(params, pieces):
    def mean(params):
      sums = accumulation.total(piece_loss, params, pieces)
      return sums[0] * size / BATCH, sums[1]

    grads, _ = jax.grad(mean, has_aux=True)(params)
    return jax.lax.psum(grads, "data")

  step = jax.jit(
    jax.shard_map(
      on_device,
      mesh=mesh,
      in_specs=(jax.P(), jax.P("data")),
      out_specs=jax.P(),
      check_vma=False,
    )
  )
  data = jax.tree.map(
    lambda x: x.reshape(-1, size, *x.shape[1:]), batch(SIDE, BATCH)
  )
  keys = jax.random.split(jax.random.key(1), BATCH // size)
  pieces = jax.device_put(
    (data, jax.random.key_data(keys)),
    jax.NamedSharding(mesh, jax.P("data")),
  )
  return functools.partial(step, params, pieces)


def convolution_step() -> Callable[[], object]:
  """The rule as one writes it first, differentiated by JAX."""

  def norm(layer, x):
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return jax.nn.relu(x * layer["scale"] + layer["bias"])

  def rule(params, s_BYXC):
    layer = params["perception"]
    seen = jax.lax.conv_general_dilated(
      s_BYXC,
      layer["kernel"][0],
      window_strides=(1, 1),
      padding="SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    h = norm(params["norms"][0], seen + layer["bias"])
    h = jnp.concatenate([h, s_BYXC[..., : CONFIG.num_colors]], -1)
    h = h @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    h = norm(params["norms"][1], h)
    h = h @ params["out"]["kernel"] + params["out"]["bias"]
    colours, hidden = jnp.split(h, [CONFIG.num_colors], -1)
    colours = jax.nn.softmax(colours / CONFIG.temperature)
    return jnp.concatenate([colours, hidden], -1)

  def convolution_loss(params, data, *, key, step):
    del step
    drop_key, run_key = jax.random.split(key)
    inputs = data["inputs"]
    drop = automaton.random_drop(CONFIG, drop_key, (len(inputs), 1, 1, 1))

    def advance(state, key):
      u = jax.random.uniform(key, (*inputs.shape, 1))
      keep = jnp.where(u < drop, u / drop, 0.0)
      new = rule(params, state)
      state = new + (state - new) * keep
      return state, state[..., : CONFIG.num_colors]

    start = automaton.init_state(CONFIG, inputs)
    keys = jax.random.split(run_key, CONFIG.steps)
    _, colours = jax.lax.scan(advance, start, keys)
    return grids.every_step(colours, data["targets"], data["mask"])

  return simplex_step(convolution_loss, accumulate=False)


def simplex_tasks() -> tuple[float, float]:
  """Seconds to compile, and of one update of every task."""
  compiling = update = 0.0
  for low, side in zip((0, *BUCKETS), BUCKETS, strict=False):
    tasks = [i for i, s in enumerate(SIDES) if low < s <= side]
    shape = len(tasks), ROLLOUTS, side, side
    masks = np.zeros(shape, np.float32)
    for mask, i in zip(masks, tasks, strict=True):
      mask[:, : SIDES[i], : SIDES[i]] = 1
    one = batch(side, ROLLOUTS)
    data = {name: np.broadcast_to(x, shape) for name, x in one.items()}
    data["mask"] = masks
    first, second = chunk_seconds(data)
    compiling += max(first - second, 0.0)
    update += second / CHUNK
  return compiling, update


def chunk_seconds(data: dict[str, np.ndarray]) -> tuple[float, float]:
  """Of the first chunk of updates, with compilation, and of the fastest."""
  trainer = lanes.Trainer(
    init=functools.partial(automaton.init_params, CONFIG),
    loss=loss,
    fits=lambda params, data: jnp.array(False),
    optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(2e-3)),
    num_steps=4 * CHUNK,
    chunk=CHUNK,
  )
  start = time.perf_counter()
  keys = jax.random.split(jax.random.key(0), len(data["mask"]))
  seconds = []
  for _ in lanes.run(trainer, lanes.start(trainer, keys, data)):
    seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
  return seconds[0], min(seconds[1:])


def torch_step(count: int, side: int, update: bool = False):
  """A function that makes one gradient, or one update, of the peer."""
  import torch
  from torch import nn

  channels, colors = CONFIG.channels, CONFIG.num_colors
  layers = nn.ModuleList(
    [
      nn.Conv2d(channels, CONFIG.perception_width, 3, padding=1),
      nn.LayerNorm(CONFIG.perception_width),
      nn.Linear(CONFIG.perception_width + colors, CONFIG.width),
      nn.LayerNorm(CONFIG.width),
      nn.Linear(CONFIG.width, channels),
    ]
  )
  see, norm_seen, hidden, norm_hidden, out = layers
  optimizer = torch.optim.AdamW(layers.parameters(), lr=2e-3)
  inputs, targets = torch.randint(colors, (2, count, side, side))

  def rule(s):
    seen = see(s.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    h = torch.cat([nn.functional.relu(norm_seen(seen)), s[..., :colors]], -1)
    h = out(nn.functional.relu(norm_hidden(hidden(h))))
    probs = nn.functional.softmax(h[..., :colors] / CONFIG.temperature, -1)
    return torch.cat([probs, h[..., colors:]], -1)

  def call():
    drop = torch.rand(count, 1, 1, 1) * CONFIG.max_drop
    s = nn.functional.one_hot(inputs, colors).float()
    s = nn.functional.pad(s, (0, channels - colors))
    nats = 0.0
    for _ in range(CONFIG.steps):
      u = torch.rand(count, side, side, 1)
      keep = torch.where(u < drop, u / drop, 0.0)
      new = rule(s)
      s = new + (s - new) * keep
      log_probs = torch.log(s[..., :colors].clamp_min(grids.SMALLEST))
      nats = nats + nn.functional.nll_loss(
        log_probs.flatten(0, 2), targets.flatten()
      )
    optimizer.zero_grad()
    (nats / CONFIG.steps).backward()
    if update:
      nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
      optimizer.step()
    return nats.item()

  return call


def torch_tasks() -> tuple[float, float]:
  """No seconds to compile, and those of one update of every task.

  With one thread or with all, whichever is faster: grids are small.
  """
  import torch

  calls = [torch_step(ROLLOUTS, side, update=True) for side in SIDES]
  threads = torch.get_num_threads()
  seconds = []
  for count in (1, threads) * 3:
    torch.set_num_threads(count)
    start = time.perf_counter()
    for call in calls:
      call()
    seconds.append(time.perf_counter() - start)
  torch.set_num_threads(threads)
  return 0.0, min(seconds)
