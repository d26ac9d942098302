"""MLflow: one run for each result of the pipeline. No other room imports it."""

import os

# MLflow reads these when it is imported, so they are set before any module of this room runs.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# The uploader tries again by itself, so it wants to know within seconds that a server is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
