r"""Softmax temperature and the rank of representations (Masarczyk et al. 2025).

MLPs on 50 clusters and on digits, a conv net, a ResNet and a ViT are trained
with softmax(z / T). Whatever sets the initial |z| / T (temperature, the size of
the kernels, width, depth), that number tells the rank of what is learnt.
https://arxiv.org/abs/2506.01562

python -m launch.run --experiment=softmax_rank
python -m launch.run --experiment=softmax_rank \
    --set=data=/data/cifar10 --set=architectures=() --workdir=runs/cifar

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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from launch.findings import softmax_rank as findings
from simplex.analysis import ood, softmax_rank, spectra
from simplex.data import clusters, sources
from simplex.losses import labels
from simplex.models import vision
from trainers import images, optimizers, progress, scan
from trainers.problem import Problem
from trainers.reports import Report

THRESHOLDS = (1e-2, 1e-3, 1e-4, 1e-5)


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
  norm_temperatures: tuple[float, ...] = (1.0, 10.0, 100.0)
  classes: int = 50  # of the clusters
  inputs: int = 32  # their width
  per_class: int = 60  # two thirds of them for training
  spread: float = 0.5
  clusters_train: Train = Train(1500)
  data: str = "digits"
  held_out: tuple[int, ...] = (7, 8, 9)
  data_train: Train = Train(1500)
  architectures: tuple[vision.Config, ...] = (
    vision.Config("conv", width=16, depth=5, norm_layers=True),
    vision.Config("resnet", width=16, depth=2, norm_layers=True),
    vision.Config("vit", width=32, depth=2, norm_layers=True),
  )
  architecture_temperatures: tuple[float, ...] = (1.0, 10.0, 100.0)
  architecture_train: Train = Train(500, 32, 3e-3)
  measured: int = 512  # inputs whose features are looked at
  most_features: int = 256  # of a layer; more are sampled
  neighbours: int = 10  # of KNN
  equivalence_steps: int = 300

  def __post_init__(self):
    for field in ("temperatures", "scales", "widths", "depths"):
      values = getattr(self, field)
      if not values or min(values) <= 0:
        raise ValueError(f"{field}={values} must hold numbers above 0")
    if self.network.kind != "mlp":
      raise ValueError(
        f"network.kind={self.network.kind!r} must be 'mlp'; others go into "
        "architectures"
      )
    if not self.held_out:
      raise ValueError("held_out=() leaves nothing out of distribution")


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    num_seeds=2,
    network=vision.Config(width=8, depth=3),
    temperatures=(1.0, 100.0),
    scales=(0.5,),
    widths=(16,),
    depths=(2,),
    norm_temperatures=(1.0,),
    classes=6,
    inputs=4,
    per_class=12,
    clusters_train=Train(8, 8),
    data_train=Train(8, 8),
    architectures=(vision.Config("vit", width=8, depth=1),),
    architecture_temperatures=(1.0, 100.0),
    architecture_train=Train(4, 8),
    measured=40,
    neighbours=3,
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
    architectures=(
      vision.Config("conv", width=128, depth=12, norm_layers=True),
      vision.Config("resnet", width=128, depth=9, norm_layers=True),
      vision.Config("vit", width=192, depth=9, norm_layers=True, patch=4),
    ),
    architecture_temperatures=(0.1, 1.0, 10.0, 100.0, 1000.0),
    architecture_train=train,
    measured=8000,
    most_features=8000,
  )


def run(config: Config, workdir: str) -> Report:
  """Trains the sweeps and measures what they learnt."""
  del workdir  # minutes in all: nothing is worth saving before the end
  data, outside = _images(config)  # first: a missing folder is seen at once
  return findings.report(
    findings.Found(
      classes=config.classes,
      thresholds=THRESHOLDS,
      arms=_clusters_arms(config),
      images=_images_arms(config, data, outside),
      image_classes=int(data.train_labels.max()) + 1,
      equivalence=_equivalence(config),
      softmax=_softmax(config),
    )
  )


class Data(NamedTuple):
  """Inputs and labels, to train on and to test on."""

  train: jax.Array
  train_labels: jax.Array
  test: jax.Array
  test_labels: jax.Array


def problem(
  config: Config,
  network: vision.Config | None = None,
  data: Data | None = None,
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
    return {"x": data.train[i], "label": data.train_labels[i]}

  source = sources.from_sampler(sample, train.batch_size)
  return Problem(init, loss, source, evals or {})


def _clusters(config: Config) -> Data:
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
  return Data(x_NE[train], labels_N[train], x_NE[test], labels_N[test])


def _images(config: Config) -> tuple[Data, Data]:
  """The classes that are learnt, numbered anew, and those held out."""
  loaded = images.load(config.data)
  names = np.unique(loaded.train_labels_N)
  if unknown := set(config.held_out) - set(names.tolist()):
    raise ValueError(
      f"held_out={sorted(unknown)} are not among the classes {names.tolist()}"
    )
  kept = np.setdiff1d(names, config.held_out)
  if len(kept) < 2:
    raise ValueError(f"held_out={config.held_out} leaves {len(kept)} classes")

  def part(classes):
    keep = lambda labels_N: np.isin(labels_N, classes)
    pick = lambda x, labels_N: (
      jnp.asarray(x[keep(labels_N)]),
      np.searchsorted(classes, labels_N[keep(labels_N)]),
    )
    return Data(
      *pick(loaded.train_NHWC, loaded.train_labels_N),
      *pick(loaded.test_NHWC, loaded.test_labels_N),
    )

  return part(kept), part(np.unique(config.held_out))


def _sweep(config, network, data, train, settings, look):
  """Runs every (temperature, scale) with every seed, in one program.

  Returns:
    A tree of arrays `[settings, seeds, 2, ...]`: what `look` saw before the
    first step and after the last.
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
    see = lambda params, key: look(net, params, data, temperature)
    fitted = problem(
      config,
      network,
      data,
      train,
      temperature=temperature,
      scale=scale,
      evals={"seen": see},
    )
    key = jax.random.fold_in(jax.random.key(config.seed), seed)
    evals = scan.fit(fitted, tx, key, train.num_steps)[2]
    return {name.removeprefix("seen/"): x for name, x in evals.items()}

  settings = (
    temperature_N.astype(np.float32),
    scale_N.astype(np.float32),
    seed_N.astype(np.int32),
  )
  seen = scan.sweep(one, settings, at_once=config.at_once)
  shape = (-1, config.num_seeds)
  return {name: x.reshape(*shape, *x.shape[1:]) for name, x in seen.items()}


def layers(net: vision.Classifier, params, x):
  """Logits, and what each layer gives, [N, E] each."""
  logits_NK, state = net.apply(params, x, mutable="intermediates")
  return logits_NK, state["intermediates"]["layers"]


def _look(config, net, params, data, temperature):
  """Accuracies, |z| / T and ranks: what is measured of every network."""
  x = data.train[: config.measured]
  logits_NK, shown = layers(net, params, x)
  test_NK = net.apply(params, data.test)
  logits_K = spectra.spectrum(logits_NK, of="covariance")
  sampled = [_sampled(x_NE, config.most_features) for x_NE in shown]
  spectra_L = [spectra.spectrum(x_NE, of="covariance") for x_NE in sampled]
  thresholds = jnp.asarray(THRESHOLDS)
  rank = lambda s_K: spectra.numerical_rank(s_K, thresholds)
  right = lambda z_NK, y_N: jnp.mean(jnp.argmax(z_NK, axis=1) == y_N)
  return {
    "norm": jnp.mean(jnp.linalg.norm(logits_NK, axis=1)) / temperature,
    "train": right(logits_NK, data.train_labels[: config.measured]),
    "test": right(test_NK, data.test_labels),
    "logits": rank(logits_K),
    "layers": jnp.stack([rank(s_K) for s_K in spectra_L]),
    "effective": spectra.effective_rank(logits_K),
    "stable": spectra.stable_rank(logits_K),
  }


def _sampled(x_NE, most: int):
  """At most `most` features, always the same."""
  E = x_NE.shape[1]
  if E <= most:
    return x_NE
  return x_NE[:, np.random.default_rng(0).permutation(E)[:most]]


def _look_inside(config, net, params, data, temperature):
  """And how activations and kernels of an MLP are aligned."""
  shown = layers(net, params, data.train[: config.measured])[1]
  body = params["params"]["body"]
  kernels = [body[f"layer_{i}"]["kernel"] for i in range(1, len(shown))]
  kernels.append(params["params"]["head"]["kernel"])
  aligned = map(spectra.alignment, shown, kernels)
  seen = _look(config, net, params, data, temperature)
  return {**seen, "alignment": jnp.stack(list(aligned))}


def _clusters_arms(config: Config) -> list[findings.Arm]:
  """Every knob that moves |z| / T, on clusters."""
  net, data = config.network, _clusters(config)
  look = functools.partial(_look_inside, config)
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
  for field in ("norm_layers", "norm_head"):
    arms.append((field, dataclasses.replace(net, **{field: True}), normed))
  found = []
  for knob, network, settings in arms:
    progress.show(f"clusters: {knob}, {len(settings)} x {config.num_seeds}")
    train = config.clusters_train
    seen = _sweep(config, network, data, train, settings, look)
    found.append(findings.Arm(knob, network, settings, seen))
  first, split = found[0], len(config.temperatures)
  return [*findings.split(first, split, "initial scale"), *found[1:]]


def _images_arms(config, data: Data, outside: Data) -> list[findings.Arm]:
  """The MLP and the other architectures on images, over temperatures."""
  look = functools.partial(_look_outside, config, outside)
  arms = [(config.network, config.temperatures, config.data_train)]
  for network in config.architectures:
    temperatures = config.architecture_temperatures
    arms.append((network, temperatures, config.architecture_train))
  found = []
  for network, temperatures, train in arms:
    progress.show(f"{config.data}: {network.kind}")
    settings = [(t, 1.0) for t in temperatures]
    seen = _sweep(config, network, data, train, settings, look)
    found.append(findings.Arm(network.kind, network, settings, seen))
  return found


def detectors(config: Config, features: int, classes: int):
  """The detectors by name, in the order of `findings.DETECTORS`."""
  main = min(features, classes - 1)
  return (
    ood.msp(),
    ood.energy(),
    ood.vim(max(features // 4, 1)),
    ood.neco(main),
    ood.neco(main, max_logit=True),
    ood.knn(config.neighbours),
    ood.knn(config.measured),
    ood.mahalanobis(classes),
  )


def _look_outside(config, outside, net, params, data, temperature):
  """And collapse, and how well other data are told apart and classified."""
  M, K = config.measured, net.config.num_classes
  see = lambda x: _as_data(*layers(net, params, x))
  labels_N = data.train_labels[:M]
  train = see(data.train[:M])._replace(labels_N=labels_N)
  noise = jax.random.uniform(jax.random.key(config.seed), data.test.shape)
  others = [see(x) for x in (outside.test, 1 - data.test, noise)]
  test = see(data.test)
  quality = []
  for detector in detectors(config, train.features_NE.shape[1], K):
    state = detector.fit(train)
    inside_N = detector.score(state, test)
    for other in others:
      scores = (inside_N, detector.score(state, other))
      quality += [
        measure(*scores)
        for measure in (
          ood.auroc,
          ood.fpr95_id_positive,
          ood.fpr95_ood_positive,
        )
      ]
  probe = functools.partial(
    softmax_rank.linear_probe,
    labels_N=outside.train_labels,
    test_labels_M=outside.test_labels,
    num_classes=int(outside.train_labels.max()) + 1,
  )
  pairs = [layers(net, params, x)[1] for x in (outside.train, outside.test)]
  cut = lambda x_NE: _sampled(x_NE, config.most_features)
  collapse = softmax_rank.neural_collapse(
    train.features_NE, labels_N, params["params"]["head"]["kernel"]
  )
  return {
    **_look(config, net, params, data, temperature),
    "ood": jnp.stack(quality).reshape(-1, len(others), 3),
    "probes": jnp.stack(
      [probe(cut(a), test_ME=cut(b)) for a, b in zip(*pairs, strict=True)]
    ),
    "collapse": jnp.stack(collapse),
  }


def _as_data(logits_NK, shown) -> ood.Data:
  return ood.Data(shown[-1], logits_NK)


def _equivalence(config: Config) -> dict[str, float]:
  """Largest difference of z / T and its rescaled run, over max |z / T|."""
  temperature = 50.0
  with jax.enable_x64(True):
    same = softmax_rank.rescaling(temperature, config.network.depth)
    makers = {
      "SGD": lambda rate, _: optax.sgd(rate),
      "Adam": lambda rate, epsilon: optax.adam(1e-3 * rate, eps=epsilon),
    }
    plain, scaled = (1.0, 1e-8), {}
    scaled["SGD"] = (same.sgd, 1e-8)
    scaled["Adam"] = (same.adam, 1e-8 * same.adam_epsilon)
    return {
      name: _difference(
        config, temperature, same.kernels, make(*plain), make(*scaled[name])
      )
      for name, make in makers.items()
    }


def _difference(config, temperature, scale, tx, scaled_tx) -> float:
  data = jax.tree.map(
    lambda x: x.astype(np.float64) if x.dtype.kind == "f" else x,
    _clusters(config),
  )
  net = vision.Classifier(
    dataclasses.replace(config.network, num_classes=config.classes)
  )

  def logits(tx, temperature, scale):
    fitted = problem(config, data=data, temperature=temperature)
    # In 64 bits before they are scaled, lest that rounds.
    init = lambda key: jax.tree.map(
      lambda kernel: kernel.astype(np.float64) * scale, fitted.init(key)
    )
    fitted = fitted._replace(init=init)
    fit = jax.jit(lambda key: scan.fit(fitted, tx, key, steps)[0].params)
    return net.apply(fit(jax.random.key(config.seed)), data.test)

  steps = config.equivalence_steps
  first_NK = logits(tx, temperature, 1.0) / temperature
  second_NK = logits(scaled_tx, 1.0, scale)
  return float(jnp.abs(first_NK - second_NK).max() / jnp.abs(first_NK).max())


def _softmax(config: Config) -> findings.Softmax:
  """Softmax ranks of the rank-2 construction and of Gaussian logits."""
  scales_S = np.logspace(-3, 3, 25)
  K, N = 100, 2000
  labels_N = jax.random.randint(jax.random.key(config.seed), (N,), 0, K)
  logits_NK = softmax_rank.rank_two_logits(labels_N, K)
  right = jnp.mean(jnp.argmax(logits_NK, axis=1) == labels_N)
  rank = spectra.numerical_rank(spectra.spectrum(logits_NK))
  ranks = functools.partial(softmax_rank.softmax_ranks, scales_S=scales_S)
  gaussian = {}
  for r in (2, 5):
    draws = []
    for seed in range(config.num_seeds):
      keys = jax.random.split(jax.random.key(seed))
      left_NR = jax.random.normal(keys[0], (N, r))
      right_RK = jax.random.normal(keys[1], (r, 50))
      draws.append(ranks(left_NR @ right_RK, threshold=1e-2))
    gaussian[r] = np.stack(draws)
  return findings.Softmax(
    scales_S, float(right), float(rank), np.asarray(ranks(logits_NK)), gaussian
  )
