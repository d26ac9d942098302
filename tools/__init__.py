"""Programs around the pipeline: summary, MLflow UI, repair of DVC files, reliability tests."""
