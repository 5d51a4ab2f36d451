# After a job has failed, the finished results are published nevertheless.

import csv
import subprocess
import tempfile

from snakemake.logging import logger

PUBLISH_RULES = ("write_plan", "write_style", "summarise_points", "make_tables", "make_figures", "make_page")


def left_by_this_run():
    """What this run should have made and has not, for the run that publishes the rest."""
    unfinished = [str(file) for job in workflow.dag.needrun_jobs() for file in job.output]
    # Jobs that were running when the run stopped have failed, too. Jobs may have been submitted in groups.
    failed = (*workflow.scheduler.failed, *workflow.scheduler.running)
    jobs = [job for item in failed for job in (item.jobs if item.is_group() else [item])]
    return {"unfinished": unfinished, "failed": [str(log) for job in jobs for log in job.log]}


def may_publish():
    """Whether this run was to publish, and nothing it has published before is in the way.

    Then its lock covers all that publishing reads and writes. A run for single files has no right to them: another one
    may be at work there. In a storage of their own, results are not where they would be looked for.
    """
    asked = any(job.rule.name == "make_page" for job in workflow.dag.jobs)
    return asked and BENCHMARK.partial is None and not workflow.storage_settings.default_storage_provider


def deployment():
    """Options that let jobs run in the same environment or image as those of this run."""
    settings = workflow.deployment_settings
    methods = [str(method) for method in settings.deployment_method]
    folders = {"--conda-prefix": settings.conda_prefix, "--apptainer-prefix": settings.apptainer_prefix}
    options = [f"{option}={folder}" for option, folder in folders.items() if folder]
    return [f"--apptainer-args={settings.apptainer_args}", *options, "--sdm", *methods] if methods else []


def publish_finished():
    """Runs the summary and everything after it on what is finished, after some job has failed, and says so."""
    if not may_publish():
        return
    if not workflow.scheduler.failed:  # somebody has stopped the run, and has a reason to start it again
        logger.error("The run was stopped. What was published before has not been changed.")
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "config.json"
        write_text(settings, json.dumps({**SETTINGS, "partial": left_by_this_run()}, default=str))
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--snakefile", workflow.main_snakefile]
            + ["--configfile", str(settings), "--executor", "local", "--cores", "1", "--nolock", "--quiet", "all"]
            + ["--rerun-triggers", "mtime", "input", "params", "--workflow-profile", "none"]
            + ["--allowed-rules", "all", *PUBLISH_RULES]
            + deployment()
            # The same things may be missing as after an earlier failure, for another reason.
            + ["--forcerun", "summarise_points"],
            check=False,
        )
    logger.error(what_is_published() if done.returncode == 0 else "What is finished could not be published: see above.")


def what_is_published():
    """One line for whoever started the run and sees it fail."""
    with open("results/summary/failures.csv", encoding="utf-8", newline="") as ledger:
        missing = sum(1 for _ in csv.DictReader(ledger))
    return (
        f"What is finished is published in results/page/index.html; missing: {missing}, each with its reason and log in"
        " results/summary/failures.csv."
    )
