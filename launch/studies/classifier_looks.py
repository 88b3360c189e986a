"""What is looked at in a classifier that is trained.

A look is `(net, params, data, temperature) -> {name: array}`, pure, so that it
is part of the compiled program of a sweep.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import ood, softmax_rank, spectra
from simplex.models import vision

THRESHOLDS = (1e-2, 1e-3, 1e-4, 1e-5)


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of what is looked at."""

  measured: int = 512  # training inputs whose features are looked at
  most_features: int = 256  # of a layer; more are sampled
  neighbours: int = 10  # of KNN
  seed: int = 0  # of the noise


def layers(net: vision.Classifier, params, x):
  """Logits, and what each layer gives, [N, E] each."""
  logits_NK, state = net.apply(params, x, mutable="intermediates")
  return logits_NK, state["intermediates"]["layers"]


def norm(cfg, net, params, data):
  """Mean norm of the logits."""
  logits_NK = net.apply(params, data.train[: cfg.measured])
  return jnp.mean(jnp.linalg.norm(logits_NK, axis=1))


def ranks(cfg, net, params, data):
  """Accuracies and ranks: what is measured of every network."""
  x = data.train[: cfg.measured]
  logits_NK, shown = layers(net, params, x)
  test_NK = net.apply(params, data.test)
  logits_K = spectra.spectrum(logits_NK, of="covariance")
  sampled = [_sampled(x_NE, cfg.most_features) for x_NE in shown]
  spectra_L = [spectra.spectrum(x_NE, of="covariance") for x_NE in sampled]
  thresholds = jnp.asarray(THRESHOLDS)
  rank = lambda s_K: spectra.numerical_rank(s_K, thresholds)
  right = lambda z_NK, y_N: jnp.mean(jnp.argmax(z_NK, axis=1) == y_N)
  return {
    "train": right(logits_NK, data.train_labels[: cfg.measured]),
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


def inside(cfg, net, params, data, temperature):
  """And how activations and kernels of an MLP are aligned."""
  del temperature
  shown = layers(net, params, data.train[: cfg.measured])[1]
  body = params["params"]["body"]
  kernels = [body[f"layer_{i}"]["kernel"] for i in range(1, len(shown))]
  kernels.append(params["params"]["head"]["kernel"])
  aligned = map(spectra.alignment, shown, kernels)
  seen = ranks(cfg, net, params, data)
  return {**seen, "alignment": jnp.stack(list(aligned))}


def detectors(cfg: Config, features: int, classes: int):
  """The detectors by name, in the order of `findings.DETECTORS`."""
  main = min(features, classes - 1)
  return (
    ood.msp(),
    ood.energy(),
    ood.vim(max(features // 4, 1)),
    ood.neco(main),
    ood.neco(main, max_logit=True),
    ood.knn(cfg.neighbours),
    ood.knn(cfg.measured),
    ood.mahalanobis(classes),
  )


def outside(cfg, unseen, net, params, data, temperature):
  """And collapse, and how well other data are told apart and classified.

  Detectors get z / T: the probabilities are those that were trained.
  """
  M, K = cfg.measured, net.config.num_classes

  def see(x):
    logits_NK, shown = layers(net, params, x)
    return ood.Data(shown[-1], logits_NK / temperature)

  labels_N = data.train_labels[:M]
  train = see(data.train[:M])._replace(labels_N=labels_N)
  noise = jax.random.uniform(jax.random.key(cfg.seed), data.test.shape)
  parts = (data.test, unseen.test, 1 - data.test, noise)
  every = see(jnp.concatenate(parts))
  ends = np.cumsum([len(x) for x in parts])[:-1]
  scores = [
    detector.score(detector.fit(train), every)
    for detector in detectors(cfg, train.features_NE.shape[1], K)
  ]
  inside_SN, *others = jnp.split(jnp.stack(scores), ends, axis=1)
  measures = (ood.auroc, ood.fpr95_id_positive, ood.fpr95_ood_positive)
  quality = [
    [jax.vmap(f)(inside_SN, x_SN) for f in measures] for x_SN in others
  ]
  probe = functools.partial(
    softmax_rank.linear_probe,
    labels_N=unseen.train_labels,
    test_labels_M=unseen.test_labels,
    num_classes=int(unseen.train_labels.max()) + 1,
  )
  pairs = [layers(net, params, x)[1] for x in (unseen.train, unseen.test)]
  cut = lambda x_NE: _sampled(x_NE, cfg.most_features)
  collapse = softmax_rank.neural_collapse(
    train.features_NE, labels_N, params["params"]["head"]["kernel"]
  )
  return {
    **ranks(cfg, net, params, data),
    "ood": jnp.asarray(quality).transpose(2, 0, 1),
    "probes": jnp.stack(
      [probe(cut(a), test_ME=cut(b)) for a, b in zip(*pairs, strict=True)]
    ),
    "collapse": jnp.stack(collapse),
  }
