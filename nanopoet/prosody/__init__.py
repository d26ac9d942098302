"""The rules of classical verse: rhyme, forms, tones."""
