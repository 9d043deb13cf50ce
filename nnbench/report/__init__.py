"""The report: a notebook that is executed by a real kernel from the MLflow store alone, and the same as a page.

`template.py` is the notebook as a script. It makes one call in each cell: on `verdict`, `tables` or `figures`, which
show what `results` has read and compared. `build` executes it.
"""
