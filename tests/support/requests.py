"""A small vocabulary and catalogue, and the plans of requests to a model that has them."""

from typing import Any

from nanopoet.corpus.poems import Poem
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.request import Request
from nanopoet.writing.resolve import Plan, resolve
from tests.support.poems import STORK_TOWER
from tests.support.writing import COMMON, TUNE_POEMS

TOKENIZER = CharTokenizer.from_characters(
    COMMON
    + "".join(TUNE_POEMS)
    + "李白杜甫靜夜思，。床前明疑是地霜舉頭低故五言絕句如梦令绝步陸陆游啼"
    + STORK_TOWER
)
CATALOGUE = Catalogue.of(
    [Poem(content=text, title="", author="杜甫", style="如梦令") for text in TUNE_POEMS * 3]
    + [Poem(content="光。", title="", author="李白", style="失调名")]
    + [Poem(content="長風。", title="", author="李白", style="五言绝句")]
    + [Poem(content="長風。", title="", author="陸游", style="五言绝句")]
    + [Poem(content="光。", title="", author="陆游", style="")] * 3
)


def plan(with_fields: bool = False, **values: Any) -> Plan:
    """Return the plan of a request to a finetuned model, or to one that is pretrained only."""
    return resolve(Request.read(values), TOKENIZER, CATALOGUE if with_fields else None)
