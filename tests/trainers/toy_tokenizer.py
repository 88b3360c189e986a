"""A tokenizer of bytes in the format of the package `tokenizers`."""

import pathlib

BEGIN, END = 256, 257


def write(folder: pathlib.Path) -> None:
  """Makes `tokenizer.json`; every text begins with `BEGIN`."""
  import tokenizers
  from tokenizers import decoders, models, pre_tokenizers, processors

  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  ends = {"<s>": BEGIN, "</s>": END}
  vocab = {letter: i for i, letter in enumerate(alphabet)} | ends
  made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
  made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = decoders.ByteLevel()
  made.add_special_tokens(list(ends))
  made.post_processor = processors.TemplateProcessing(
    single="<s> $A", special_tokens=[("<s>", BEGIN)]
  )
  made.save(str(folder / "tokenizer.json"))
