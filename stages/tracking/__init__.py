"""MLflow: one run for each result of the pipeline. Nothing else here imports it."""
