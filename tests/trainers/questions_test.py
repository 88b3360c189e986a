"""Tests for trainers/questions.py."""

import pathlib

from absl.testing import absltest, parameterized

from trainers import questions

GOOD = '{"question": "3 + 4?", "answer": "Count.\\n#### 7"}\n'


class QuestionsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.create_tempdir().full_path) / "some.jsonl"

  def test_a_line_is_a_question_and_its_final_answer(self):
    self.path.write_text(GOOD + "\n" + GOOD)
    want = [questions.Question("3 + 4?", "7")] * 2
    self.assertEqual(questions.load(self.path), want)

  @parameterized.parameters(
    ("so\n#### 7\nthe end", "7"),
    ("#### 6, no:\n#### $1,200.50", "1200.5"),
    (r"is \boxed{42}.", "42"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    ("####  7.0 .", "7"),
    ("#### 100", "100"),
    ("#### Nan", "Nan"),
    ("#### -3", "-3"),
    ("7", None),
    ("####\n7", None),
  )
  def test_an_answer_is_what_is_marked_last(self, text, answer):
    self.assertEqual(questions.final_answer(text), answer)

  @parameterized.parameters(
    ("{", "line 2 is not JSON"),
    ("[1]", "line 2 needs texts 'question' and 'answer': .1."),
    ('{"question": "3?", "answer": 3}', "line 2 needs texts"),
    ('{"question": "3?", "answer": "3"}', "line 2: no final answer is after"),
  )
  def test_a_line_that_is_no_question_is_named(self, line, message):
    self.path.write_text(GOOD + line)
    with self.assertRaisesRegex(ValueError, message):
      questions.load(self.path)

  def test_a_file_that_is_not_there_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "no questions in .*some.jsonl"):
      questions.load(self.path)


if __name__ == "__main__":
  absltest.main()
