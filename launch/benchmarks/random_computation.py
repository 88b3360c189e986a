"""Random computation: tokens made in a second, and over torch's.

The published settings (Bloem 2025, https://arxiv.org/abs/2506.20057): LSTMs of
4 layers and width 128, 104 rows of 512 tokens each, a bank of 2080 rows. The
peer is the same process in plain PyTorch, written for this comparison.

Groups run side by side when there is a device for each; see --cpu_devices. One
device leaves other cores idle: a single LSTM's matrix products are too small to
share.
"""

import dataclasses
import importlib.util

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from launch import timing
from simplex.data.random_computation import bank

LENGTH = 512
OFFICIAL = bank.official()
ROWS = OFFICIAL.rows_per_machine


def run() -> list[dict]:
  """Rows with the tokens made in a second, and the ratio to torch's."""
  devices = jax.device_count()
  split = dataclasses.replace(
    OFFICIAL, num_groups=devices, rows_per_machine=ROWS // devices
  )
  configs = {"simplex, one device": OFFICIAL}
  if devices > 1:
    configs |= {
      f"simplex, {devices} devices share the rows": split,
      f"simplex, {devices} devices": bank.official(num_groups=devices),
    }
  if jax.default_backend() != "cpu":
    many = {"num_machines": 64, "bank_rows": 2 * 64 * ROWS}
    configs["simplex, 64 machines"] = dataclasses.replace(OFFICIAL, **many)
  fns = {name: simplex_step(config) for name, config in configs.items()}
  tokens = {
    name: c.num_groups * c.num_machines * c.rows_per_machine * LENGTH
    for name, c in configs.items()
  }
  missing = []
  if importlib.util.find_spec("torch"):
    fns["torch"], tokens["torch"] = torch_step(), ROWS * LENGTH
  else:
    missing = [
      {"name": "random_computation/torch", "missing": "torch is not installed"}
    ]
  seconds = timing.medians(fns)
  rates = {name: tokens[name] / s for name, s in seconds.items()}
  rows = [
    {
      "name": f"random_computation/{name}",
      "seconds": seconds[name],
      "tokens_per_second": rate,
    }
    | ({"ratio": rate / rates["torch"]} if "torch" in rates else {})
    for name, rate in rates.items()
  ]
  return rows + missing


def simplex_step(config: bank.Config):
  """A function that makes one step of our process, a group on each device."""
  mesh = jax.make_mesh((config.num_groups,), ("data",), (AxisType.Auto,))
  spread = NamedSharding(mesh, P("data"))
  source = bank.source(config, 52 * config.num_groups, LENGTH - 1)
  step = jax.jit(source.next, donate_argnums=0, out_shardings=spread)
  init = jax.jit(source.init, out_shardings=spread)
  state = [init(jax.random.key(0))]

  def call():
    batch, state[0] = step(state[0])
    return batch, state[0].step

  return call


def torch_step():
  """A function that makes one step of the peer."""
  import torch
  from torch import nn

  width, layers, seed = 128, 4, OFFICIAL.seed_length
  rows, resets = OFFICIAL.bank_rows, OFFICIAL.constant_resets
  store = torch.randint(256, (rows, 1)).repeat(1, LENGTH)

  def machine():
    embedding = nn.Embedding(256, width)
    embedding.weight.mul_(1e-8)
    lstm = nn.LSTM(2 * width, width, layers, batch_first=True)
    gain = torch.empty(()).uniform_(1.0, 3.5) ** layers
    for weight in lstm.parameters():
      weight.mul_(gain)
    return embedding, lstm, nn.Linear(width, 256)

  def generate(seeds, conditions):
    embedding, lstm, head = machine()
    tokens, state = torch.empty_like(conditions), None
    tokens[:, :seed] = seeds
    for t in range(LENGTH - 1):
      pair = torch.stack([tokens[:, t], conditions[:, t]], dim=1)
      h, state = lstm(embedding(pair).flatten(1)[:, None], state)
      if t + 1 >= seed:
        tokens[:, t + 1] = head(h[:, 0]).argmax(dim=1)
    return tokens

  @torch.no_grad()
  def call():
    order = torch.randperm(rows)
    store[order[:resets]] = torch.randint(256, (resets, 1))
    store[order[resets : 2 * resets]] = torch.randint(256, (resets, LENGTH))
    start = int(torch.randint(LENGTH - seed, ()))
    read, write = torch.randperm(rows)[:ROWS], torch.randperm(rows)[:ROWS]
    seeds = store[read, start : start + seed]
    store[write] = generate(seeds, store[write])
    return store[torch.randperm(rows)[:52]].numpy()

  return call
