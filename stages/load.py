"""Archive, folder or JSONL → data/poems.jsonl, by the corpus rules."""

from collections import Counter

from nanopoet.common.files import write_json
from nanopoet.corpus.collection import read_corpus
from nanopoet.corpus.counts import CorpusCounts
from nanopoet.corpus.poems import write_poems
from nanopoet.params import load_params
from stages.runner import run


def main() -> None:
    params = load_params()
    dropped: Counter[str] = Counter()
    statistics = CorpusCounts()
    poems = read_corpus(params.load.source, dropped)
    write_poems("data/poems.jsonl", statistics.watch(poems))
    figures = statistics.figures()
    counts = {rule: dropped[rule] for rule in sorted(dropped)}
    write_json("metrics/load.json", figures | {"dropped": counts})
    reasons = "; ".join(f"{rule} {count:,}" for rule, count in counts.items())
    print(
        f"load: data/poems.jsonl, {figures['poems']:,} poems of {figures['authors']:,} authors in "
        f"{figures['styles']:,} styles; {dropped.total():,} left out{reasons and f' ({reasons})'}"
    )


if __name__ == "__main__":
    run(main)
