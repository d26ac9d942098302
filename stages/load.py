"""Stage `load`: archive, folder or JSONL → data/poems.jsonl, by the corpus rules."""

import sys
from collections import Counter

from nanopoet.common.files import write_json
from nanopoet.corpus.collection import in_script, read_corpus
from nanopoet.corpus.counts import CorpusCounts
from nanopoet.corpus.poems import write_poems
from nanopoet.corpus.text_counts import TextCounts, list_counts
from nanopoet.params import load_params
from stages.runner import run


def main() -> None:
    """Read the corpus, write its poems, and count them."""
    params = load_params()
    dropped: Counter[str] = Counter()
    corpus, texts = CorpusCounts(), TextCounts()
    poems = read_corpus(params.load.source, dropped)
    if params.load.script != "keep":
        poems = in_script(poems, params.load.script)
    write_poems("data/poems.jsonl", texts.watch(corpus.watch(poems)))
    figures = corpus.figures() | texts.figures()
    by_rule = {rule: dropped[rule] for rule in sorted(dropped)}
    write_json("metrics/load.json", figures | {"dropped": by_rule})
    for warning in texts.warnings():
        print(f"warning: load: {params.load.source}: {warning}", file=sys.stderr)
    reasons = "; ".join(f"{rule} {count:,}" for rule, count in by_rule.items())
    print(
        f"load: data/poems.jsonl, {figures['poems']:,} poems of {figures['authors']:,} authors in "
        f"{figures['styles']:,} styles; {dropped.total():,} dropped{reasons and f' ({reasons})'}; "
        f"marks: {list_counts(figures['marks']) or 'none'}; "
        f"scripts: {list_counts(figures['scripts'])}"
    )


if __name__ == "__main__":
    run(main)
