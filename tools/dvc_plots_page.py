"""Write .dvc/plots.html, the page into which `dvc plots` draws.

The page of DVC itself loads Vega from the network. This page contains Vega. `make` writes it once.
"""

from pathlib import Path

import vl_convert

from nanopoet.common.files import atomic_write
from stages.runner import run

PAGE = Path(".dvc/plots.html")


def main() -> None:
    """Write the page with Vega-Embed as one script."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace(
        "</script", "<\\/script"
    )
    with atomic_write(PAGE) as file:
        file.write(
            f'<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n<title>nanopoet</title>\n'
            f"{{refresh_tag}}\n<script>{script}</script>\n</head>\n"
            f"<body>\n{{plot_divs}}\n</body>\n</html>\n".encode()
        )


if __name__ == "__main__":
    run(main)
