r"""Antidistillation sampling: traces that spoil a student (Savani et al. 2025).

A teacher writes reasoning traces whose tokens are drawn with a penalty: the
derivative of a proxy student's log-probabilities along the gradient of its
held-out loss. A student of another size is fine-tuned on them.
https://arxiv.org/abs/2504.13146

python -m launch.run --experiment=antidistillation
python -m launch.run --experiment=antidistillation \
    --set=nats=8,16,32 --set=epochs=10 --workdir=runs/longer
python -m launch.run --experiment=antidistillation --preset=paper \
    --set=folders.teacher=my_teacher/ --set=folders.questions=my.jsonl

Default: about five CPU-minutes. Expected: with a teacher at 60 %,
answer-forced, the student is at 55 % under antidistillation (49 % before it was
distilled) and at 80 % under temperature sampling, a gap of 25 [22, 29] points;
it is at 70 % under the paper's control, a permutation. A random direction is
nearly as good: with a teacher at 70 % antidistillation leads it by 3 [1, 5]
points. An adaptive student does not recover. Undisturbed traces bring the
student to 96 %. With 5 epochs, which we tried first, they brought it to 91 %,
so it was not trained to the end, and the gap was 17 [14, 19] at 70 %.

With `folders`, models of Hugging Face answer questions such as GSM8K's, and the
student is tuned by LoRA; we have run that on toys alone.

The task is running sums modulo 10. A second teacher learned from reasoning half
of whose steps were wrong and answers that were right: its answers do not hang
on its reasoning. There, 16 nats cost it 4 points and leave the student at
chance, but so does a temperature of 1.5, which costs it more raw accuracy.

Departures: a toy task and models of 17,000 to 38,000 parameters; held-out
traces are right ones, which a teacher writes greedily; the student is
fine-tuned whole, without LoRA; the gradient has length 1 and the penalty is
quoted in nats.
"""

import dataclasses
import functools

from absl import app
import jax
import jax.numpy as jnp
import numpy as np

from launch.findings import (
  antidistillation as findings,
  antidistillation_runs as runs,
)
from launch.studies import (
  distillation,
  protected_traces,
  text_folders,
  text_traces,
)
from simplex.adapters import targets
from simplex.data import running_sums, sources
from simplex.models import transformer
from simplex.types import Array, Key, Params
from trainers import optimizers, progress, scan
from trainers.problem import Problem
from trainers.reports import Report


def _sized(width: int, num_layers: int) -> transformer.Config:
  return transformer.Config(
    vocab_size=running_sums.Config().vocab_size,
    width=width,
    num_layers=num_layers,
    num_heads=4,
    feed_forward_width=2 * width,
    implementation="reference",
  )


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on.

  Attributes:
    seed: of everything.
    num_seeds: proxies, students and draws; there is one teacher of each regime.
    data: the questions.
    teacher: sizes; likewise the proxy and the student.
    errors: of the reasoning that a teacher learned from, in each regime; its
      answers are right.
    teacher_steps: how long it learns.
    teacher_batch: questions in a batch, also of proxy and student.
    proxy_accuracy: at which the proxy stops, greedy and raw.
    student_accuracy: at which the student stops, before it is distilled.
    check_every: steps between looks at these.
    most_steps: after which they stop in any case.
    traces: that a student learns from.
    held_out: clean traces, of which the proxy's gradient is taken.
    test: unseen questions.
    attacker_traces: clean ones that the adaptive student has.
    epochs: of a student.
    batch_size: of a student.
    evals: of the held-out loss, during them.
    other_keys: of the fingerprint, that were not used.
    tau: temperature below every penalty.
    temperatures: of sampling without one.
    nats: of the penalty, its 99th percentile.
    shuffled_nats: of the control by permutation.
    products: shares of the proxy in a product of experts.
    greens: weights of the fingerprint.
    beta: of the adaptive student, at the larger half of `nats`.
    epsilons: of finite differences, along a direction of length 1.
    matched: accuracies of the teacher at which students are compared.
    base: the optimiser of teacher, proxy and undistilled student.
    tune: the optimiser of the student that is distilled.
    folders: models and questions of files in place of the toy; seeds are then
      of draws and adapters, and `traces`, `held_out` and `test` count
      questions.
  """

  seed: int = 0
  num_seeds: int = 5
  data: running_sums.Config = running_sums.Config(length=4)
  teacher: transformer.Config = _sized(48, 2)
  proxy: transformer.Config = _sized(40, 2)
  student: transformer.Config = _sized(32, 2)
  errors: tuple[float, ...] = (0.0, 0.5)
  teacher_steps: int = 1200
  teacher_batch: int = 128
  proxy_accuracy: float = 0.65
  student_accuracy: float = 0.4
  check_every: int = 10
  most_steps: int = 600
  traces: int = 800
  held_out: int = 300
  test: int = 400
  attacker_traces: int = 50
  epochs: int = 12
  batch_size: int = 40
  evals: int = 5
  other_keys: int = 199
  tau: float = 0.6
  temperatures: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0)
  nats: tuple[float, ...] = (2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0)
  shuffled_nats: tuple[float, ...] = (8.0, 16.0, 32.0)
  products: tuple[float, ...] = (0.5, 0.8, 0.95)
  greens: tuple[float, ...] = (8.0, 32.0)
  beta: float = 1.0
  epsilons: tuple[float, ...] = tuple(float(f"1e{n}") for n in range(-5, 2))
  matched: tuple[float, ...] = (0.6, 0.7)
  base: optimizers.Config = optimizers.Config(
    learning_rate=5e-3, warmup_steps=50
  )
  tune: optimizers.Config = optimizers.Config(
    learning_rate=3e-3, warmup_steps=10
  )
  folders: text_folders.Config = text_folders.Config()

  def __post_init__(self):
    for name in ("teacher", "proxy", "student"):
      vocab_size = getattr(self, name).vocab_size
      if vocab_size != self.data.vocab_size:
        raise ValueError(
          f"{name}.vocab_size={vocab_size} is not that of the data, "
          f"{self.data.vocab_size}: all share one vocabulary"
        )
    if self.num_steps % self.evals:
      raise ValueError(
        f"evals={self.evals} must divide the {self.num_steps} steps of "
        f"{self.epochs} epochs of {self.traces} traces"
      )

  @property
  def num_steps(self) -> int:
    """Of a student."""
    return self.epochs * (self.traces // self.batch_size)


def tiny() -> Config:
  """Seconds, most of them to compile; shows that everything runs."""
  return Config(
    num_seeds=2,
    teacher=_sized(8, 0),
    proxy=_sized(8, 0),
    student=_sized(8, 0),
    errors=(0.0,),
    teacher_steps=4,
    teacher_batch=8,
    check_every=2,
    most_steps=4,
    traces=8,
    held_out=4,
    test=8,
    attacker_traces=4,
    epochs=1,
    batch_size=4,
    evals=2,
    other_keys=9,
    temperatures=(2.0,),
    nats=(4.0,),
    shuffled_nats=(4.0,),
    products=(0.5,),
    greens=(8.0,),
    epsilons=(1e-2, 1e-1),
  )


def paper() -> Config:
  """The paper's on GSM8K; a run that we have not made.

  Its models and questions go where `folders` says, or where `--set` does; a run
  without them says where they are from. The student learns from the first 70 %
  of the questions. Departures: the test of GSM8K in place of GSM8K-Platinum, a
  plain template in place of the models' own, and penalties in nats.
  """
  steps = 4 * (5231 // 32)
  return Config(
    num_seeds=1,
    traces=5231,
    held_out=2242,
    test=1319,
    epochs=4,
    batch_size=32,
    evals=4,
    matched=(0.7, 0.8),
    tune=optimizers.Config(
      learning_rate=5e-4, weight_decay=0.1, warmup_steps=steps // 10
    ),
    folders=text_folders.Config(
      teacher="models/DeepSeek-R1-Distill-Qwen-7B",
      proxy="models/Qwen2.5-3B",
      student="models/Llama-3.2-3B",
      questions="data/gsm8k/train.jsonl",
      test="data/gsm8k/test.jsonl",
      max_tokens=1024,
      at_once=16,
      accumulate=16,
      epsilon=1e-2,
      dtype="bfloat16",
      adapter=targets.Config((r".*layer.*kernel",), rank=128, alpha=128.0),
    ),
  )


def problem(config: Config, errors: float | Array = 0.0) -> Problem:
  """What a teacher learns from: right answers after reasoning with errors."""
  return _problem(config, config.teacher, errors)


def _problem(config, model, errors=0.0, evals=None):
  source = sources.from_sampler(
    running_sums.sampler(config.data, errors), config.teacher_batch
  )
  return distillation.problem(config.data, model, source, evals=evals)


def cells(config: Config) -> dict[str, list[protected_traces.Cell]]:
  """The ways to sample, by arm, from the weakest on."""
  at_tau = functools.partial(protected_traces.Cell, tau=config.tau)
  strong = config.nats[len(config.nats) // 2 :]
  return {
    "before": [at_tau(learns=0.0)],
    "temperature": [at_tau()]
    + [protected_traces.Cell(tau=tau) for tau in config.temperatures],
    "antidistillation": [at_tau(nats=x) for x in config.nats],
    "random": [at_tau(random_nats=x) for x in config.nats],
    "permutation": [at_tau(shuffled_nats=x) for x in config.shuffled_nats],
    "product": [at_tau(product=x) for x in config.products],
    "flipped": [at_tau(nats=-strong[0])],
    "adaptive": [at_tau(nats=x, beta=config.beta) for x in strong],
    "fingerprint": [at_tau(green=x) for x in config.greens],
  }


def run(config: Config, workdir: str) -> Report:
  """Trains all models, then every cell of every regime and seed.

  With `folders`, models and questions are those of files.
  """
  del workdir  # minutes in all: nothing is worth saving before the end
  if config.folders.given:
    return _of_folders(config)
  teacher_key, proxy_key, student_key, lane_key = jax.random.split(
    jax.random.key(config.seed), 4
  )
  teachers = _teachers(config, teacher_key)
  proxies, proxy_steps = _stopped(
    config, config.proxy, proxy_key, config.proxy_accuracy
  )
  students, student_steps = _stopped(
    config, config.student, student_key, config.student_accuracy
  )
  arms = cells(config)
  results = protected_traces.sweep(
    sizes(config), arms, teachers, proxies, students, lane_key
  )
  return findings.report(
    _found(
      config,
      arms,
      results,
      subject="A teacher reasons aloud about sums, running ones modulo "
      f"{config.data.modulus}; a student is fine-tuned on what it writes.",
      regimes=[runs.regime(errors) for errors in config.errors],
      read=functools.partial(running_sums.text, config.data),
      differences=_differences(config, proxies),
      steps=(proxy_steps, student_steps),
    )
  )


def _found(config, arms, results, **fields) -> runs.Found:
  evaluations = np.linspace(0, config.num_steps, config.evals + 1)
  return runs.Found(
    cells={arm: [c._asdict() for c in some] for arm, some in arms.items()},
    results=results,
    matched=config.matched,
    epsilons=np.array(config.epsilons),
    evaluations=tuple(evaluations.astype(int)),
    **fields,
  )


def _of_folders(config: Config) -> Report:
  """The arms that are the paper's, and the random direction."""
  try:
    loaded = text_folders.load(config.folders, sizes(config))
  except (ValueError, ModuleNotFoundError) as error:
    raise app.UsageError(str(error)) from error
  every = cells(config)
  arms = {arm: every[arm] for arm in text_traces.ARMS}
  results = text_traces.run(
    config.folders,
    loaded,
    sizes(config),
    arms,
    jax.random.key(config.seed),
    config.num_seeds,
  )
  return findings.report(
    _found(
      config,
      arms,
      results,
      subject=config.folders.subject,
      regimes=["its own reasoning"],
      read=str,
      differences={},
    )
  )


def _teachers(config: Config, key: Key) -> Params:
  """One of each regime, stacked."""
  progress.show(f"{len(config.errors)} teachers")
  tx = optimizers.make(config.base, config.teacher_steps)

  def one(errors):
    fitted = problem(config, errors)
    return scan.fit(fitted, tx, key, config.teacher_steps)[0].params

  return scan.sweep(one, jnp.array(config.errors))


def _stopped(config, model, key, least) -> tuple[Params, np.ndarray]:
  """Models that stop at an accuracy, one for each seed, and their steps."""
  progress.show(f"{config.num_seeds} models of width {model.width}")
  tx = optimizers.make(config.base, config.most_steps)
  test_key, init_key = jax.random.split(key)

  def one(key):
    test = protected_traces.clean(sizes(config), test_key, config.test)
    right = functools.partial(distillation.all_right, model, test)
    return distillation.train_until(
      _problem(
        config, model, evals={"test": lambda params, key: right(params)}
      ),
      tx,
      key,
      every=config.check_every,
      most=config.most_steps,
      enough=lambda evals: evals["test/share"] >= least,
    )

  return scan.sweep(one, jax.random.split(init_key, config.num_seeds))


def sizes(config: Config) -> protected_traces.Sizes:
  """What every lane has in common."""
  names = protected_traces.Sizes._fields
  fields = {n: getattr(config, n) for n in names if n != "optimizer"}
  return protected_traces.Sizes(optimizer=config.tune, **fields)


def _differences(config, proxies) -> dict[str, np.ndarray]:
  """|sin| of finite differences, `[seeds, epsilons]`, by dtype."""
  progress.show("finite differences")
  one = functools.partial(
    protected_traces.differences,
    sizes(config),
    jax.random.key(config.seed),
    jnp.array(config.epsilons),
    runs.DTYPES,
  )
  return scan.sweep(one, proxies)
