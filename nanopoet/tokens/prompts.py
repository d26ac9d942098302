"""Prompts in the script that a vocabulary has."""

from nanopoet.prosody.script import to_script
from nanopoet.tokens.tokenizer import CharTokenizer


def in_known_script(prompt: str, tokenizer: CharTokenizer) -> str:
    """Convert a prompt to the script that leaves the fewest unknown characters.

    >>> tokenizer = CharTokenizer.from_characters("春風")
    >>> in_known_script("春风", tokenizer), in_known_script("春雨", tokenizer)
    ('春風', '春雨')
    """
    if not tokenizer.unknown(prompt):
        return prompt
    ways = [prompt, to_script(prompt, "traditional"), to_script(prompt, "simplified")]
    return min(ways, key=lambda way: len(tokenizer.unknown(way)))
