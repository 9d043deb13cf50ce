"""The report: a notebook that is executed by a real kernel from the MLflow store alone, and the same as a page.

`results` says what a notebook can ask of a study, `template.py` is the notebook as a script, `build` executes it.
"""
