"""What every room needs: errors, files, devices, text, YAML, types."""
