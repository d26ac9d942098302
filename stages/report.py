"""Stage `report`: metrics, poems and the training history → report/index.html."""

from pathlib import Path

from nanopoet.common.files import read_json, write_text
from nanopoet.params import load_params
from nanopoet.report.page import render_report
from nanopoet.training.history import read_history
from stages.runner import run
from stages.tracking.uploader import publish

MODEL = Path("models/poet")
REPORT = Path("report/index.html")


def main() -> None:
    """Write the report and add it to the MLflow run."""
    params = load_params()
    page = render_report(
        evaluate=read_json("metrics/evaluate.json"),
        baseline=read_json("metrics/baseline.json"),
        pretrain=read_json("metrics/pretrain.json"),
        poems=read_json("data/examples.json"),
        config=read_json(MODEL / "config.json"),
        records=read_history(MODEL),
    )
    write_text(REPORT, page)
    publish("pretrain", params, page)
    print(f"report: {REPORT}, {len(page.encode()) / 1e3:,.0f} kB in one file")


if __name__ == "__main__":
    run(main)
