"""What a run looks like on disk and in MLflow: written first to a record folder, then published, then read back.

The names of files, tags, params and metrics live here and nowhere else. MLflow is imported by this package alone.
"""
