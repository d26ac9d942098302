"""Write the figures of the last runs into README and docs: `make figures`.

Two steps. First, the figures are collected into docs/figures.json, which git keeps. Then every marked
place of README.md, README.zh.md and docs/*.md is filled from docs/figures.json alone. Tests compare
the pages with docs/figures.json, never with metrics/, so a training of your own fails no test.

A number in a sentence or a table cell, on one line:

    <!-- fig: PATH SPEC -->TEXT<!-- /fig -->

PATH is a dotted path into docs/figures.json. SPEC is a format specification of Python, such as `,`,
`.4f` or `.1%`; `time` writes seconds as "45 seconds" or "19 minutes", `time-zh` as "45 秒" or "19 分钟".
Without SPEC the value is written as it is. A value that does not exist, such as the share of rhymes among
no poems, is "–". Examples of paths:

    load.poems  split.val_near_duplicates  tokenize.vocab_size  encode.train_tokens
    baseline.kneser_ney_4.nats_per_character
    default.evaluate.nats_per_character  evening.evaluate.verse.model.rhyme
    notebook.pretrain.tokens  small.measured.commit  small.measured.seconds

Recipes are `default`, `notebook`, `evening` and `small`. Each has `measured` (commit, machine, seconds of
training without evaluation steps), `pretrain`, `evaluate`, `loss_val` (step → loss) and `poem`.

A block, its markers on lines of their own:

    <!-- figures: NAME -->
    any lines
    <!-- /figures -->

NAME is one of these. Each but the poems has a Chinese twin with the suffix `-zh`:

    results            a row for each recipe: loss, perplexity, regular form, rhyme, size, tokens, time
    verse              the poems of the default recipe beside those of people and of n-grams
    notebook-curve     validation loss of the original notebook beside that of the recipe `notebook`
    poem-RECIPE        the first poem that a recipe wrote, as a code block

Markers do not nest. In a code block they would be visible, so none may stand there.
"""
