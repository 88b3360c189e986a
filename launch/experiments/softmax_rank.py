r"""Softmax temperature and the rank of representations (Masarczyk et al. 2025).

MLPs on 50 clusters and on digits, a conv net, a ResNet and a ViT are trained
with softmax(z / T). The initial |z| / T tells the rank of what is learnt, by
temperature and by the size of the initial kernels on one curve.
https://arxiv.org/abs/2506.01562

python -m launch.run --experiment=softmax_rank
python -m launch.run --experiment=softmax_rank \
    --set=data=/data/cifar10 --set=architectures= --workdir=runs/cifar

Default: two minutes on two CPU cores. Expected on clusters, all learnt in
full: logits of rank 44, 32, 18, 9 and 6 for T = 0.1, 1, 10, 100 and 1000, where
C - 1 is 49. Initial scale keeps to that curve within 4 % (logits) and 5 % (last
features); width and depth are off by 7 to 31 % and 13 to 53 %, networks with
norms by more than 100 %: |z| / T alone does not tell their rank. On digits the
MLP's last features have rank 44, 22, 13, 10 and 8. Temperature is initial scale
to 5e-15 (SGD) and 2e-15 (Adam) in float64, the rate rescaled.

Images are of digits that ship with scikit-learn, or of a folder with MNIST or
CIFAR-10. Networks learn all classes but `held_out`; these are what is out of
distribution, beside inverted images and uniform noise.

Departures: the paper's temperatures, rates and threshold are not known to us;
the threshold on the covariance is 1e-3 and others are shown. No biases, norms
without parameters, no weight decay, and layer norms in the place of batch
norms.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from launch.findings import (
  softmax_rank as findings,
  softmax_rank_sweeps as results,
)
from launch.studies import (
  classifier_looks as looks,
  held_out,
  rescaled_runs,
)
from simplex.analysis import softmax_rank, spectra
from simplex.data import clusters, sources
from simplex.losses import labels
from simplex.models import vision
from trainers import blas, images, optimizers, progress, scan
from trainers.problem import Problem
from trainers.reports import Report

ARCHITECTURES = ("conv", "resnet", "vit")


@dataclasses.dataclass(frozen=True)
class Train:
  """How long a network is trained; the rate is constant, of Adam."""

  num_steps: int
  batch_size: int = 64
  learning_rate: float = 1e-3


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on."""

  seed: int = 0
  num_seeds: int = 5
  at_once: int = 1  # runs that a device trains together
  network: vision.Config = vision.Config(width=64, depth=6)
  temperatures: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
  scales: tuple[float, ...] = (0.5, 0.7, 1.4)  # of the kernels, at T = 1
  widths: tuple[int, ...] = (48, 96)  # with the kernels' deviation unchanged
  depths: tuple[int, ...] = (3, 10)  # with kernels of variance 1 / fan-in
  norm_temperatures: tuple[float, ...] = (1.0, 100.0)
  classes: int = 50  # of the clusters
  inputs: int = 32  # their width
  per_class: int = 60  # two thirds of them for training
  spread: float = 0.5
  clusters_train: Train = Train(1500)
  data: str = "digits"
  held_out: tuple[int, ...] = (7, 8, 9)
  data_train: Train = Train(1500)
  architectures: tuple[str, ...] = ARCHITECTURES
  conv: vision.Config = vision.Config(
    "conv", width=16, depth=4, norm_layers=True
  )
  resnet: vision.Config = vision.Config(
    "resnet", width=16, depth=2, norm_layers=True
  )
  vit: vision.Config = vision.Config("vit", width=32, depth=2, norm_layers=True)
  architecture_temperatures: tuple[float, ...] = (1.0, 10.0)
  architecture_train: Train = Train(800, 32, 3e-3)
  look: looks.Config = looks.Config()
  equivalence_steps: int = 300

  def __post_init__(self):
    for field in ("temperatures", "scales", "architecture_temperatures"):
      values = getattr(self, field)
      if not values or min(values) <= 0:
        raise ValueError(f"{field}={values} must hold numbers above 0")
    net = self.network
    if (net.kind, net.norm_layers, net.norm_head) != ("mlp", False, False):
      raise ValueError(
        f"network={net} must be an 'mlp' without norms; others go into "
        "architectures"
      )
    if unknown := set(self.architectures) - set(ARCHITECTURES):
      raise ValueError(
        f"architectures={sorted(unknown)} are not among {list(ARCHITECTURES)}"
      )


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    num_seeds=2,
    network=vision.Config(width=8, depth=2),
    temperatures=(1.0, 100.0),
    scales=(0.5,),
    widths=(),
    depths=(),
    norm_temperatures=(),
    classes=6,
    inputs=4,
    per_class=12,
    clusters_train=Train(8, 8),
    data_train=Train(8, 8),
    architectures=(),
    architecture_temperatures=(1.0, 100.0),
    architecture_train=Train(4, 8),
    look=looks.Config(measured=40, neighbours=3),
    equivalence_steps=20,
  )


def paper() -> Config:
  """CIFAR-10 with larger networks, for a GPU; a run that we have not made."""
  train = Train(40_000, 128)
  return Config(
    at_once=5,
    network=vision.Config(width=512, depth=8),
    widths=(256, 1024),
    depths=(4, 12),
    classes=100,
    inputs=64,
    per_class=150,
    clusters_train=train,
    data="data/cifar-10-batches-bin",
    data_train=train,
    conv=vision.Config("conv", width=128, depth=12, norm_layers=True),
    resnet=vision.Config("resnet", width=128, depth=9, norm_layers=True),
    vit=vision.Config("vit", width=192, depth=9, norm_layers=True, patch=4),
    architecture_temperatures=(0.1, 1.0, 10.0, 100.0, 1000.0),
    architecture_train=train,
    look=looks.Config(measured=8000, most_features=8000),
  )


def run(config: Config, workdir: str) -> Report:
  """Trains the sweeps and measures what they learnt."""
  del workdir  # minutes in all: nothing is worth saving before the end
  # First, so that a missing folder is seen at once.
  data, outside = held_out.split(images.load(config.data), config.held_out)
  with blas.one_thread():
    found = results.Found(
      classes=config.classes,
      thresholds=looks.THRESHOLDS,
      arms=_clusters_arms(config),
      images=_images_arms(config, data, outside),
      image_classes=int(data.train_labels.max()) + 1,
      equivalence=_equivalence(config),
      softmax=_softmax(config),
    )
  return findings.report(found)


def problem(
  config: Config,
  network: vision.Config | None = None,
  data: held_out.Data | None = None,
  train: Train | None = None,
  *,
  temperature: float = 1.0,
  scale: float = 1.0,
  evals=None,
) -> Problem:
  """A classifier trained with softmax(z / T) from kernels times `scale`.

  Args:
    config: sizes.
    network: None is `config.network`.
    data: None is the clusters.
    train: None is `config.clusters_train`.
    temperature: T; may be traced.
    scale: of the initial kernels; may be traced.
    evals: name to `(params, key) -> metrics`.
  """
  data = data or _clusters(config)
  num_classes = int(data.train_labels.max()) + 1
  network = dataclasses.replace(
    network or config.network, num_classes=num_classes
  )
  train = train or config.clusters_train
  net = vision.Classifier(network)

  def init(key):
    params = {"params": net.init(key, data.train[:1])["params"]}
    return jax.tree.map(lambda kernel: kernel * scale, params)

  def loss(params, batch, *, key, step):
    del key, step
    logits_NK = net.apply(params, batch["x"])
    return labels.cross_entropy(
      logits_NK, batch["label"], temperature=temperature
    )

  def sample(key):
    i = jax.random.randint(key, (), 0, data.train.shape[0])
    return {"x": data.train[i], "label": jnp.asarray(data.train_labels)[i]}

  source = sources.from_sampler(sample, train.batch_size)
  return Problem(init, loss, source, evals or {})


def _clusters(config: Config) -> held_out.Data:
  x_NE, labels_N = clusters.gaussian(
    jax.random.key(config.seed),
    classes=config.classes,
    width=config.inputs,
    per_class=config.per_class,
    spread=config.spread,
  )
  order_N = np.random.default_rng(config.seed).permutation(len(labels_N))
  train, test = np.split(order_N, [2 * len(order_N) // 3])
  # The labels are of numpy: how many classes there are shapes the network.
  labels_N = np.asarray(labels_N)
  return held_out.Data(x_NE[train], labels_N[train], x_NE[test], labels_N[test])


def _sweep(config, network, data, train, settings, look):
  """Runs every (temperature, scale) with every seed, in one program.

  Returns:
    Name to `[settings, seeds, ...]`: what `look` sees after the last step, and
    "norm", |z| / T before the first.
  """
  grid = [(*s, seed) for s in settings for seed in range(config.num_seeds)]
  temperature_N, scale_N, seed_N = map(np.asarray, zip(*grid, strict=True))
  tx = optimizers.make(
    optimizers.Config(
      learning_rate=train.learning_rate, schedule="constant", clip_norm=0.0
    ),
    train.num_steps,
  )
  num_classes = int(data.train_labels.max()) + 1
  net = vision.Classifier(dataclasses.replace(network, num_classes=num_classes))

  def one(setting):
    temperature, scale, seed = setting

    def norm(params, key):
      del key
      return {"norm": looks.norm(config.look, net, params, data) / temperature}

    fitted = problem(
      config,
      network,
      data,
      train,
      temperature=temperature,
      scale=scale,
      evals={"start": norm},
    )
    key = jax.random.fold_in(jax.random.key(config.seed), seed)
    state, _, evals = scan.fit(fitted, tx, key, train.num_steps)
    seen = look(net, state.params, data, temperature)
    return {"norm": evals["start/norm"][0], **seen}

  settings = (
    temperature_N.astype(np.float32),
    scale_N.astype(np.float32),
    seed_N.astype(np.int32),
  )
  seen = scan.sweep(one, settings, at_once=config.at_once)
  shape = (-1, config.num_seeds)
  return {name: x.reshape(*shape, *x.shape[1:]) for name, x in seen.items()}


def _clusters_arms(config: Config) -> list[results.Arm]:
  """Every knob that moves |z| / T, on clusters."""
  net, data = config.network, _clusters(config)
  look = functools.partial(looks.inside, config.look)
  plain = [(t, 1.0) for t in config.temperatures]
  # One program: temperature and scale are numbers in it.
  plain += [(1.0, s) for s in config.scales]
  arms = [("temperature", net, plain)]
  for width in config.widths:
    wide = dataclasses.replace(net, width=width)
    arms.append(("width", wide, [(1.0, (width / net.width) ** 0.5)]))
  for depth in config.depths:
    deep = dataclasses.replace(net, depth=depth)
    arms.append(("depth", deep, [(1.0, 0.5**0.5)]))
  normed = [(t, 1.0) for t in config.norm_temperatures]
  for field in ("norm_layers", "norm_head") if normed else ():
    arms.append((field, dataclasses.replace(net, **{field: True}), normed))
  found = []
  for knob, network, settings in arms:
    progress.show(f"clusters: {knob}, {len(settings)} x {config.num_seeds}")
    train = config.clusters_train
    seen = _sweep(config, network, data, train, settings, look)
    found.append(results.Arm(knob, network, settings, seen))
  first, split = found[0], len(config.temperatures)
  return [*results.split(first, split, "initial scale"), *found[1:]]


def _images_arms(
  config, data: held_out.Data, outside: held_out.Data
) -> list[results.Arm]:
  """The MLP and the other architectures on images, over temperatures."""
  look = functools.partial(looks.outside, config.look, outside)
  arms = [(config.network, config.temperatures, config.data_train)]
  for name in config.architectures:
    temperatures = config.architecture_temperatures
    train = config.architecture_train
    arms.append((getattr(config, name), temperatures, train))
  found = []
  for network, temperatures, train in arms:
    progress.show(f"{config.data}: {network.kind}")
    settings = [(t, 1.0) for t in temperatures]
    seen = _sweep(config, network, data, train, settings, look)
    found.append(results.Arm(network.kind, network, settings, seen))
  return found


def _equivalence(config: Config) -> dict[str, float]:
  net = vision.Classifier(
    dataclasses.replace(config.network, num_classes=config.classes)
  )
  with jax.enable_x64(True):
    data = _clusters(config)
    return rescaled_runs.differences(
      lambda t: problem(config, data=data, temperature=t),
      lambda params: net.apply(params, data.test),
      num_kernels=config.network.depth,
      num_steps=config.equivalence_steps,
      key=jax.random.key(config.seed),
    )


def _softmax(config: Config) -> results.Softmax:
  """Softmax ranks of the rank-2 construction and of Gaussian logits."""
  scales_S = np.logspace(-3, 3, 25)
  N, K = 300, 100
  labels_N = np.random.default_rng(config.seed).permutation(N) % K
  logits_NK = softmax_rank.rank_two_logits(labels_N, K)
  ranks = jax.jit(
    functools.partial(softmax_rank.softmax_ranks, scales_S=scales_S),
    static_argnames="threshold",
  )
  gaussian = {}
  for r in (2, 5):
    draws = []
    for seed in range(config.num_seeds):
      keys = jax.random.split(jax.random.key(seed))
      left_NR = jax.random.normal(keys[0], (N, r))
      right_RK = jax.random.normal(keys[1], (r, 50))
      draws.append(ranks(left_NR @ right_RK, threshold=1e-2))
    gaussian[r] = np.stack(draws)
  return results.Softmax(
    scales=scales_S,
    right=float(jnp.mean(jnp.argmax(logits_NK, axis=1) == labels_N)),
    rank=float(spectra.numerical_rank(spectra.spectrum(logits_NK))),
    ranks=np.asarray(ranks(logits_NK)),
    gaussian=gaussian,
  )
