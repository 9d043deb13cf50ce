"""The commands beside training: `report`, `sync`, `ui` and so on. Their first word decides, see `nnbench.__main__`."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnbench import __version__

if TYPE_CHECKING:
    from nnbench.sweep.verify import Comparison

LOCAL_HOSTS = "localhost:*,127.0.0.1:*"  # MLflow's own default admits more than this machine
MOST_LISTED = 100  # experiments, the newest first; the page has all
MOST_SWEEPS = 5  # that a line names


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """nnbench beside training; `python -m nnbench --help` explains training itself."""


@commands.command()
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
def sync(tracking_uri: str | None) -> None:
    """Publish to MLflow what could not be published when it was trained, or was published to a store that is gone.

    Exit status: 0 if nothing waits any more, 1 if something does.
    """
    from nnbench.sweep import outbox
    from nnbench.tracking import publish, record, store, trouble
    from nnbench.tracking.store import without_credentials

    uri = store.resolve(tracking_uri)
    with suppress(store.StoreError), trouble.bounded(uri, outbox.MOST_SECONDS):  # or its records meet the same
        outbox.wait_again(outbox.lost(record.find(Path.cwd()), uri))
    outcomes = publish.publish_all(record.unpublished(Path.cwd()), tracking_uri)
    for folder, error in outcomes:
        outcome = (
            "published" if error is None else f"not published: {without_credentials(' '.join(str(error).split()))}"
        )
        click.echo(f"{folder.parent.relative_to(Path.cwd())}  {outcome}")
    failed = sum(error is not None for _, error in outcomes)
    click.echo(f"{len(outcomes) - failed} published, {failed} still waiting")
    sys.exit(1 if failed else 0)


@commands.command()
@click.argument("study", default="nnbench")
@click.option("--sweep", help="The id of one sweep; default: the newest of the study.")
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
def status(study: str, sweep: str | None, tracking_uri: str | None) -> None:
    """Show which cells of STUDY are done, diverged, failed, interrupted or missing, and why.

    Exit status: 0 if every cell has a result, 1 if not or if the store cannot be read, 3 if there is no such sweep.
    """
    from nnbench import terminal
    from nnbench.sweep.status import coverage

    with _store(tracking_uri) as uri:
        found = coverage(uri, study, sweep)
    if found is None:
        of_sweep = f" of the sweep {sweep}" if sweep else ""
        click.echo(f"{study} has no cell{of_sweep} in {uri}", err=True)
        sys.exit(3)
    terminal.print_coverage(found)
    sys.exit(0 if found.complete else 1)


@commands.command()
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(tracking_uri: str | None, port: int) -> None:
    """Open MLflow's page on the right store, on 127.0.0.1 alone."""
    from nnbench.tracking import store

    uri = store.resolve(tracking_uri)
    if uri.startswith("http"):
        click.echo(f"the store is a server; open {uri}")
        return
    with _store(uri):
        experiments = store.client(uri).search_experiments(filter_string="name != 'Default'", max_results=MOST_LISTED)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise click.ClickException(f"port {port} is in use on this machine; give another one with --port")
    click.echo("the page is ready in some seconds; Ctrl-C ends it")
    for experiment in experiments:
        click.echo(f"{experiment.name}: http://127.0.0.1:{port}{store.page(experiment.experiment_id)}")
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **store.QUIET, **os.environ}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        uri,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--workers", "1", "--allowed-hosts", LOCAL_HOSTS]
    for stop in (signal.SIGTERM, signal.SIGHUP):  # of a terminal that is closed
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    # A group of its own: MLflow starts further processes, and none of them may outlive this one.
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:  # noqa: S603 - our own words
        try:
            sys.exit(server.wait())
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)


@commands.command()
@click.argument("study", default="nnbench")
@click.option("--sweep", help="The id of one sweep; default: the newest result of every setting.")
@click.option("--output", type=click.Path(path_type=Path), help="A folder of its own; default: reports/STUDY.")
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
def report(study: str, sweep: str | None, output: Path | None, tracking_uri: str | None) -> None:
    """Build the report of STUDY (nnbench for sweeps without a name) from the MLflow store alone.

    Exit status: 0 if it is built, 1 if it cannot be, 3 if there is nothing to report.
    """
    from nnbench.report.build import ReportError, build
    from nnbench.report.results import NothingToReportError
    from nnbench.terminal import print_bands
    from nnbench.tracking import read, store

    folder = (output or Path("reports", store.file_name(study))).absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the kernel is ended, too
    with _store(tracking_uri) as uri:
        fingerprints = read.fingerprints_of(uri, study, sweep) if sweep else None
        if sweep and not fingerprints:
            click.echo(f"{study} has no finished cell of a sweep {sweep}; {_known_sweeps(uri, study)}", err=True)
            sys.exit(3)
    try:
        made = build(uri, study, folder, fingerprints=fingerprints, sweep=sweep)
    except NothingToReportError as nothing:
        click.echo(str(nothing), err=True)
        sys.exit(3)
    except ReportError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.ClickException(f"the report cannot be written into {folder}: {reason}") from error
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    print_bands(made.tables)
    click.echo(f"report    {made.page}")
    click.echo(f"notebook  {made.notebook}")
    click.echo(f"tables    {made.tables}")
    if made.not_logged:
        click.echo(f"the store has no copy of the report: {made.not_logged}", err=True)


@commands.command()
@click.option("--output", type=click.Path(path_type=Path), help="The file to write; default: the terminal.")
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
@click.option(
    "--config-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of your own choices, whose studies are shown, too.",
)
def studies(output: Path | None, tracking_uri: str | None, config_dir: Path | None) -> None:
    """Show the studies of experiments/ as a page in Markdown: question, command, source, and what the store has found.

    experiments/README.md is written by it.
    """
    from nnbench.places import EXPERIMENTS
    from nnbench.report import studies as page
    from nnbench.tracking import store

    uri = store.resolve(tracking_uri)
    if tracking_uri is not None and not store.exists(uri):
        raise click.ClickException(f"there is no store at {uri}; train something first, or give another one")
    try:
        text = page.render(page.of_folders(EXPERIMENTS, config_dir), uri if store.exists(uri) else None)
    except page.StudiesError as error:
        raise click.ClickException(str(error)) from error
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror or error}") from error


@contextmanager
def _store(tracking_uri: str | None) -> Iterator[str]:
    """Give the resolved URI of a store that can be read; a store in trouble ends the command in one line."""
    from nnbench.tracking import store

    uri = store.resolve(tracking_uri)
    try:
        store.check(uri)
        yield uri
    except store.StoreError as error:
        raise click.ClickException(str(error)) from error


def _known_sweeps(uri: str, study: str) -> str:
    """Return in words which sweeps a study has, the newest first."""
    from nnbench.tracking import sweeps

    known = sweeps.known(uri, study)
    if not known:
        return "it has no sweep at all"
    more = f" and {len(known) - MOST_SWEEPS} more" if len(known) > MOST_SWEEPS else ""
    return f"its sweeps are {', '.join(known[:MOST_SWEEPS])}{more}"


@commands.command()
@click.argument("run_id")
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
@click.option(
    "--config-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of your own choices, if the run was trained with one.",
)
def verify(run_id: str, tracking_uri: str | None, config_dir: Path | None) -> None:
    """Train the run RUN_ID again, a cell's or a replica's, and compare bit for bit.

    The first digits of the id are enough. Exit status: 0 if every number is the same, 1 if not, or if what determines
    them has changed, 2 if the run cannot be trained again.
    """
    from nnbench.components import ConfigError
    from nnbench.grid import activation_choices
    from nnbench.places import CONF
    from nnbench.sweep.verify import CannotVerifyError, ChangedError
    from nnbench.sweep.verify import verify as train_again
    from nnbench.terminal import print_problems
    from nnbench.tracking import store

    uri = store.resolve(tracking_uri)
    if not store.exists(uri):
        print_problems([f"there is no store at {uri}; train something first, or give --tracking-uri"])
        sys.exit(2)
    try:
        comparison = train_again(uri, run_id, activation_choices([CONF, *([config_dir] if config_dir else [])]))
    except (CannotVerifyError, ConfigError) as error:
        print_problems(error.problems)
        sys.exit(2)
    except ChangedError as error:
        click.echo(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    _echo(comparison)
    sys.exit(0 if comparison.identical else 1)


@commands.command()
@click.argument("run_id")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--sample", type=click.IntRange(0), help="In place of FILE: the place of a missed test sample.")
@click.option("--invert", is_flag=True, help="Turn dark into bright, for a picture of black ink on white paper.")
@click.option("--output", type=click.Path(path_type=Path), help="The PNG to write; default: in outputs/predict.")
@click.option("--tracking-uri", help="The store; default: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.")
def predict(
    run_id: str, file: Path | None, sample: int | None, invert: bool, output: Path | None, tracking_uri: str | None
) -> None:
    """Show what the network of the cell's run RUN_ID takes a single sample for, and how sure it is.

    FILE is a picture (PNG, JPEG and others; grey and of the right size, or made so), a .csv with a row of raw features
    for each sample, or an .npy array. MNIST and its like are white on black: a scan of ink on paper wants --invert.
    Without FILE it is the test image that was missed most often. The first digits of the id are enough; of all seeds
    the best one's network answers. Exit status: 0, or 2 if there is no network or no such sample.
    """
    from nnbench.grid import activation_choices
    from nnbench.places import CONF
    from nnbench.sweep import predict as single
    from nnbench.terminal import print_next, print_prediction, print_problems
    from nnbench.tracking import store

    uri = store.resolve(tracking_uri)
    if not store.exists(uri):
        print_problems([f"there is no store at {uri}; train something first, or give --tracking-uri"])
        sys.exit(2)
    if output is not None and output.suffix.lower() != ".png":
        print_problems([f"--output is {output}; it must end in .png"])
        sys.exit(2)
    try:
        prediction = single.predict(uri, run_id, activation_choices([CONF]), path=file, sample=sample, invert=invert)
    except single.CannotPredictError as error:
        print_problems([str(error)])
        sys.exit(2)
    print_prediction(prediction)
    picture = output or single.FOLDER / f"{prediction.file_name}.png"
    try:
        single.draw(prediction, picture)
    except OSError as error:
        print_problems([f"{picture} cannot be written: {error.strerror or error}; give another one with --output"])
        sys.exit(2)
    print_next({"picture": str(picture)})


def _echo(comparison: "Comparison") -> None:
    """Print what came of training again."""
    seeds = f"{comparison.num_seeds} seed{'' if comparison.num_seeds == 1 else 's'}"
    trained = f"trained again in {comparison.seconds:.1f} s"
    if comparison.identical:
        click.echo(f"identical: {comparison.num_numbers} numbers of {seeds}, {trained}")
    else:
        different = f"{comparison.num_different} of {comparison.num_numbers} numbers of {seeds}"
        click.echo(f"different: {different}, {trained}; the first of each table:")
        _echo_table([("table", "seed", "epoch", "metric", "stored", "now"), *map(astuple, comparison.differences)])
        if comparison.environment:
            click.echo("the environment has changed, which is the likely cause:")
            _echo_table([("", "then", "now"), *((name, *pair) for name, pair in comparison.environment.items())])
        else:
            click.echo("the environment has not changed (versions, processor, BLAS), so the code has, or the record")
    for note in comparison.notes:
        click.echo(note)


def _echo_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
