"""Stage `report_reinforced`: all three models side by side → report/reinforced.html."""

from pathlib import Path

from nanopoet.common.files import read_json, write_text
from nanopoet.params import load_params
from nanopoet.report.page import render_reinforced_report
from nanopoet.training.history import read_history
from stages.runner import run
from stages.tracking.uploader import publish

REPORT = Path("report/reinforced.html")


def main() -> None:
    """Write the report that compares all models, and add it to the MLflow run."""
    params = load_params()
    page = render_reinforced_report(
        evaluate=read_json("metrics/evaluate.json"),
        finetuned=read_json("metrics/evaluate_finetuned.json"),
        reinforced=read_json("metrics/evaluate_reinforced.json"),
        reinforce=read_json("metrics/reinforce.json"),
        reader=read_json("metrics/reader.json"),
        requests=read_json("data/requests_reinforced.json")["requests"],
        records=read_history(Path("models/reinforced")),
    )
    write_text(REPORT, page)
    publish("reinforce", params, page)
    print(f"report_reinforced: {REPORT}, {len(page.encode()) / 1e3:,.0f} kB in one file")


if __name__ == "__main__":
    run(main)
