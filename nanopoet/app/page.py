"""The page that `nanopoet serve` opens, as HTML."""

import hashlib
import re
from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined

from nanopoet.app.poem_request import PoemRequest
from nanopoet.common.text import LINE_ENDS, PAUSES, SILENT
from nanopoet.evaluation.perplexity import meaning, meaning_in_chinese
from nanopoet.prosody.forms import FORMS, style_of
from nanopoet.prosody.rhyme import group_names
from nanopoet.writing.catalogue import Catalogue


def render_page(catalogue: Catalogue | None, folder: str, nats: float | None) -> tuple[str, str]:
    """Render the page, and a policy that allows its own script and style and nothing else.

    Args:
        catalogue: authors and tunes of the model; None if it takes none, as the page then says.
        folder: where the model comes from; the page names it.
        nats: its loss on validation poems, in nats per character; None if it is not known.
    """
    environment = Environment(
        loader=PackageLoader("nanopoet", "templates"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("web.html.jinja").render(
        forms={form: style_of(form) for form in FORMS},
        fields={
            name: schema | {"allowed": PoemRequest.allowed(name)}
            for name, schema in PoemRequest.properties().items()
        },
        groups=group_names(),
        authors=len(catalogue.authors) if catalogue else 0,
        finetuned=catalogue is not None,
        folder=folder,
        line_ends=LINE_ENDS,
        left_out=SILENT + PAUSES,
        perplexity=None if nats is None else (meaning(nats), meaning_in_chinese(nats)),
    )
    own = {}
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        own[tag] = f"'sha256-{digest}'"
    policy = (
        f"default-src 'none'; script-src {own['script']}; style-src {own['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return page, policy
