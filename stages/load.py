"""Stage `load`: archive, folder or JSONL → data/poems.jsonl, by the corpus rules."""

from collections import Counter

from nanopoet.common.files import write_json
from nanopoet.corpus.collection import read_corpus
from nanopoet.corpus.counts import CorpusCounts
from nanopoet.corpus.poems import write_poems
from nanopoet.params import load_params
from stages.runner import run


def main() -> None:
    """Read the corpus, write its poems, and count them."""
    params = load_params()
    dropped: Counter[str] = Counter()
    corpus = CorpusCounts()
    poems = read_corpus(params.load.source, dropped)
    write_poems("data/poems.jsonl", corpus.watch(poems))
    figures = corpus.figures()
    by_rule = {rule: dropped[rule] for rule in sorted(dropped)}
    write_json("metrics/load.json", figures | {"dropped": by_rule})
    reasons = "; ".join(f"{rule} {count:,}" for rule, count in by_rule.items())
    print(
        f"load: data/poems.jsonl, {figures['poems']:,} poems of {figures['authors']:,} authors in "
        f"{figures['styles']:,} styles; {dropped.total():,} dropped{reasons and f' ({reasons})'}"
    )


if __name__ == "__main__":
    run(main)
