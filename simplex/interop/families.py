"""The architectures of Hugging Face that our transformer can be."""

from simplex.interop import family, gpt2, llama

FAMILIES = {
  "GPT2LMHeadModel": gpt2.GPT2,
  "LlamaForCausalLM": llama.LLAMA,
  "Qwen2ForCausalLM": llama.QWEN2,
}


def find(settings: family.Settings) -> family.Family:
  """The family of a model, by the settings in its `config.json`.

  Raises:
    ValueError: it has no known architecture; says which are known.
  """
  names = settings.get("architectures") or []
  for name in names:
    if name in FAMILIES:
      return FAMILIES[name]
  raise ValueError(f"architectures={names} has none of {sorted(FAMILIES)}")


def stop_tokens(settings: family.Settings) -> tuple[int, ...]:
  """The tokens that end a text, by "eos_token_id" in a `config.json`."""
  tokens = settings.get("eos_token_id")
  if tokens is None:
    return ()
  return (tokens,) if isinstance(tokens, int) else tuple(tokens)
