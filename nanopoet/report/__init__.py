"""The page that shows the results of one training."""
