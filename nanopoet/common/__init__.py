"""Basics for every room: errors, files, devices, text, YAML, types."""
