"""Stage `report_finetuned`: the pretrained and the finetuned model → report/finetuned.html."""

from pathlib import Path

from nanopoet.common.files import read_json, write_text
from nanopoet.params import load_params
from nanopoet.report.page import render_finetuned_report
from nanopoet.training.history import read_history
from stages.runner import run
from stages.tracking.uploader import publish

REPORT = Path("report/finetuned.html")


def main() -> None:
    """Write the report that compares both models, and add it to the MLflow run."""
    params = load_params()
    page = render_finetuned_report(
        evaluate=read_json("metrics/evaluate.json"),
        finetuned=read_json("metrics/evaluate_finetuned.json"),
        finetune=read_json("metrics/finetune.json"),
        requests=read_json("data/requests.json")["requests"],
        records=read_history(Path("models/finetuned")),
    )
    write_text(REPORT, page)
    publish("finetune", params, page)
    print(f"report_finetuned: {REPORT}, {len(page.encode()) / 1e3:,.0f} kB in one file")


if __name__ == "__main__":
    run(main)
