"""A report says the same on the page, in Markdown, in JSON and in CSVs."""

import dataclasses
from html import parser
import json
import pathlib
from unittest import mock

from absl.testing import absltest
import chex
import jax
import numpy as np

from trainers import reports
from trainers.reports import Claim, Figure, Report, Table

_SVG = '<svg viewBox="0 0 1 1"></svg>'


@dataclasses.dataclass(frozen=True)
class _Model:
  width: int = 32


@dataclasses.dataclass(frozen=True)
class _Config:
  model: _Model = _Model()


def _report():
  curve = (np.arange(3), np.array([0.5, np.nan, 2.0]))
  return Report(
    title="Ten <papers> & more",
    summary="A <b>summary</b>.",
    claims=[
      Claim("a < b", 4.81, 3.0641, (2.9, 3.2), "bits", "4M tokens", True),
      Claim("c | d", "falls", np.float32(1.5), holds=np.bool_(False)),
      Claim("one seed", None, 2.0, (np.nan, np.nan)),
      Claim("not run"),
    ],
    figures=[
      Figure("Loss/curve", "Over <time>.", _SVG, {"a b": curve, "a/b": curve}),
      Figure("loss curve", "", _SVG, {"x": (["g"], [1], [0], [2])}),
    ],
    tables=[
      Table("Numbers", ("set", "bits"), [("x<y", 1234.5), ("z", None)]),
      Table("Text", ("name", "bytes"), [("n", "a|`<i>")], "", monospace=True),
    ],
    notes=["A <note>."],
  )


class _Tags(parser.HTMLParser):
  """Collects the tags, and checks that they are closed in order."""

  def __init__(self):
    super().__init__()
    self.seen, self.stack = [], []

  def handle_starttag(self, tag, attrs):
    self.seen.append((tag, dict(attrs)))
    if tag != "meta":
      self.stack.append(tag)

  def handle_endtag(self, tag):
    if self.stack.pop() != tag:
      raise ValueError(f"</{tag}> closes another tag")


class WriteTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)

  def _write(self, report=None):
    report = report or _report()
    settings = {"preset": "tiny", "config": _Config(), "seconds": 12.5}
    reports.write(report, str(self.root), **settings)

  def test_the_folder_holds_the_report_its_figures_and_its_curves(self):
    self._write()
    names = {path.name for path in self.root.iterdir()}
    self.assertEqual(
      names,
      {
        *("report.html", "report.md", "report.json"),
        *("loss-curve.svg", "loss-curve-2.svg"),
        *("loss-curve-a-b.csv", "loss-curve-a-b-2.csv", "loss-curve-x.csv"),
      },
    )

  def test_json_has_the_run_and_every_claim(self):
    self._write()
    text = (self.root / "report.json").read_text()
    self.assertNotRegex(text, "NaN|Infinity")
    data = json.loads(text)
    self.assertEqual(data["title"], "Ten <papers> & more")
    self.assertEqual((data["preset"], data["seconds"]), ("tiny", 12.5))
    self.assertEqual(data["config"], {"model": {"width": 32}})
    self.assertIn("cpu", data["device"].lower())
    self.assertEqual(data["versions"]["jax"], jax.__version__)
    expected = {"text": "a < b", "paper": 4.81, "ours": 3.0641}
    expected |= {"interval": [2.9, 3.2], "unit": "bits", "holds": True}
    self.assertEqual(data["claims"][0], {**expected, "size": "4M tokens"})
    self.assertIs(data["claims"][1]["holds"], False)
    self.assertEqual(data["claims"][2]["interval"], [None, None])
    curves = data["figures"][0]["curves"]
    self.assertEqual(curves["a/b"], "loss-curve-a-b-2.csv")

  def test_csv_has_every_point_and_the_interval_where_there_is_one(self):
    self._write()
    plain = (self.root / "loss-curve-a-b.csv").read_text()
    self.assertEqual(plain, "x,y\n0,0.5\n1,nan\n2,2.0\n")
    banded = (self.root / "loss-curve-x.csv").read_text()
    self.assertEqual(banded, "x,y,low,high\ng,1,0,2\n")

  def test_the_page_is_well_formed_and_needs_no_other_file(self):
    self._write()
    tags = _Tags()
    tags.feed((self.root / "report.html").read_text())
    self.assertEqual(tags.stack, [])
    names = {name for name, _ in tags.seen}
    self.assertFalse(names & {"link", "script", "img", "iframe", "a"})
    self.assertFalse(any({"src", "href"} & set(a) for _, a in tags.seen))
    self.assertEqual([n for n, _ in tags.seen].count("svg"), 2)

  def test_the_page_escapes_what_it_shows(self):
    self._write()
    page = (self.root / "report.html").read_text()
    for raw in ("<papers>", "<b>summary", "<time>", "<note>", "<i>", "x<y"):
      self.assertNotIn(raw, page)
    for shown in ("a &lt; b", "&lt;papers&gt;", "a|`&lt;i&gt;", "1,234"):
      self.assertIn(shown, page)

  def test_the_page_shows_each_verdict_and_every_setting(self):
    self._write()
    page = (self.root / "report.html").read_text()
    self.assertIn("<b class='badge yes'>holds</b>", page)
    self.assertIn("<b class='badge no'>does not hold</b>", page)
    self.assertIn("<b class='badge open'>not measured at this size</b>", page)
    self.assertIn("4.81 bits", page)
    self.assertIn("3.064 bits [2.900, 3.200]", page)
    self.assertIn("model.width=32", page)

  def test_markdown_keeps_its_tables_whole(self):
    self._write()
    text = (self.root / "report.md").read_text()
    self.assertIn("| c \\| d | falls | 1.500 | – | does not hold |", text)
    self.assertIn("| `` n `` | `` a\\|`<i> `` |", text)
    self.assertIn("![loss curve](loss-curve-2.svg)", text)
    self.assertIn("model.width=32", text)

  def test_a_report_of_a_title_alone_can_be_written(self):
    self._write(Report("Empty"))
    page = (self.root / "report.html").read_text()
    self.assertNotIn("<table", page)
    self.assertNotIn("| claim", (self.root / "report.md").read_text())

  def test_equal_reports_write_equal_bytes(self):
    contents = []
    for _ in range(2):
      self._write()
      paths = sorted(self.root.iterdir())
      contents.append([path.read_bytes() for path in paths])
    self.assertEqual(*contents)

  def test_only_the_first_process_writes(self):
    with mock.patch.object(jax, "process_index", return_value=1):
      self._write()
    self.assertEqual(list(self.root.iterdir()), [])


class SummaryTest(chex.TestCase):
  def test_lines_fit_a_hundred_columns_and_say_every_verdict(self):
    claim = Claim("long " * 40, 1.0, 2.0, (1.0, 3.0), "bits per byte")
    report = _report()._replace(claims=[*_report().claims, claim])
    text = reports.summary(report)
    self.assertLessEqual(max(map(len, text.splitlines())), 100)
    for words in ("holds ", "does not hold", "not measured", "3.064 bits"):
      self.assertIn(words, text)

  def test_columns_are_aligned(self):
    lines = reports.summary(_report()).splitlines()
    starts = {lines[1].index("ours"), lines[2].index("3.064")}
    self.assertLen(starts, 1)


class NumberTest(chex.TestCase):
  def test_numbers_keep_about_four_digits(self):
    for value, text in (
      (3.06412, "3.064"),
      (8.0, "8.000"),
      (-0.5, "-0.500"),
      (123.456, "123.5"),
      (1234567.8, "1,234,568"),
      (12, "12"),
      (1.23456e-5, "1.23e-05"),
      (0.0, "0"),
      (np.float32(0.5), "0.500"),
      (np.int64(20000), "20,000"),
      (np.bool_(True), "True"),
      (float("nan"), "–"),
      (float("inf"), "inf"),
      (None, "–"),
      ("text", "text"),
    ):
      self.assertEqual(reports.number(value), text)

  def test_the_papers_number_gains_no_digits(self):
    report = Report("t", claims=[Claim("a", 4.8, 4.8)])
    self.assertRegex(reports.summary(report), r"4\.800 +4\.8\n")


class SlugTest(chex.TestCase):
  def test_names_of_files_have_letters_digits_and_dashes(self):
    self.assertEqual(reports.slug("../Loss, 95 % (a)"), "loss-95-a")
    self.assertEqual(reports.slug("…"), "unnamed")
    self.assertLen(reports.slug("a" * 300), 60)


if __name__ == "__main__":
  absltest.main()
