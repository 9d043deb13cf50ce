"""The baselines of a sweep: scikit-learn's models beside its networks, once for each data set."""

from collections.abc import Sequence

from nnbench.data import Dataset
from nnbench.grid import Grid, Job, baseline_job
from nnbench.protocol import baselines
from nnbench.protocol.fingerprint import PLACES_OF_DATA


def beside(grid: Grid, datasets: Sequence[Dataset]) -> list[Job]:
    """Return the baselines that a sweep is to be compared with: a job for each, once for each data set and its seeds.

    scikit-learn's own network is there once for each shape and length of training of ours. They are those of the key
    `baselines`. With `auto` they are chosen by the size of the data, unless the sweep has baselines of its own. They
    are for the report, so there are none without one.
    """
    first = grid.jobs[0]
    wanted = first.config["baselines"]
    if not (grid.multirun and first.config["report"] and first.tracked):
        return []
    if wanted == "auto" and any(job.is_baseline for job in grid.jobs):
        return []
    jobs: list[Job] = []
    seen: list[tuple] = []
    for job, dataset in zip(grid.jobs, datasets, strict=True):
        options = {key: value for key, value in job.config["dataset"].items() if key not in PLACES_OF_DATA}
        data = (dataset.digest, options, job.config["seeds"], job.config["dtype"])
        values = {key: value for key, value in job.config.items() if key not in job.choices}
        if (data, values) in seen:  # the groups of our networks concern no baseline
            continue
        seen.append((data, values))
        for name in baselines.beside(dataset) if wanted == "auto" else wanted:
            baseline = baseline_job(job, name, grid.model_files[name])
            if (data, baseline.config["model"]) not in seen:
                seen.append((data, baseline.config["model"]))
                jobs.append(baseline)
    return jobs
