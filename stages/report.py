"""Figures of evaluate and baseline, and the training's course → report/index.html."""

from pathlib import Path

from nanopoet.common.files import read_json, write_text
from nanopoet.params import load_params
from nanopoet.report.page import render_report
from nanopoet.training.history import read_history
from stages.runner import run
from stages.tracking import uploader
from stages.tracking.record import Evaluation

MODEL = Path("models/poet")
REPORT = Path("report/index.html")


def main() -> None:
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
    uploader.log_evaluation(params, MODEL, Evaluation.read(params, page))
    print(f"report: {REPORT}, {len(page.encode()) / 1e3:,.0f} kB in one file")


if __name__ == "__main__":
    run(main)
