"""Replaces the ``hemgs`` command in workflow tests: writes the outputs each verb must write, in milliseconds.

Every call is appended to ``$STUB_CALLS``. A call whose command line contains ``$STUB_FAIL`` leaves a file in ``work/``,
as an interrupted training leaves its checkpoint. It exits with 2, as the real command does for bad input. A rate
``$STUB_BROKEN`` has a broken bitstream, which ``evaluate`` takes as the real command does. A call that contains
``$STUB_HOLD`` writes a file and waits for the file ``$STUB_GO_ON``.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

SUMMARY_FILES = (
    "points.csv",
    "points.parquet",
    "datasets.csv",
    "bdrate.csv",
    "parity.csv",
    "complexity.csv",
    "storage.csv",
    "ablation.csv",
    "context.csv",
    "failures.csv",
    "environment.json",
)


def main(verb: str, *arguments: str) -> int:
    with Path(os.environ["STUB_CALLS"]).open("a", encoding="utf-8") as calls:
        calls.write(json.dumps([verb, *arguments]) + "\n")
    options = dict(itertools.pairwise(arguments))
    out = Path(options["--out"])
    if os.environ.get("OMP_WAIT_POLICY") != "passive":
        print("error: OMP_WAIT_POLICY is not passive", file=sys.stderr)
        return 2
    hold = os.environ.get("STUB_HOLD", "")
    if hold and hold in " ".join((verb, *arguments)):
        go_on = Path(os.environ["STUB_GO_ON"])
        go_on.with_suffix(".held").touch()
        while not go_on.exists():
            time.sleep(0.05)
    fail = os.environ.get("STUB_FAIL", "")
    if fail and fail in " ".join((verb, *arguments)):
        if verb not in ("refit", "fetch"):  # whose --out is a file
            work = out / "work"
            work.mkdir(parents=True, exist_ok=True)
            (work / "checkpoint").write_text("half way\n")
        print("error: the stub was asked to fail — unset STUB_FAIL", file=sys.stderr)
        return 2
    for name, text in outputs(verb, arguments, options).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def outputs(verb: str, arguments: tuple[str, ...], options: dict[str, str]) -> dict[str, str]:
    """Files of a verb, relative to ``--out``."""
    if verb == "fetch":
        datasets = [value for option, value in itertools.pairwise(arguments) if option == "--dataset"]
        return {"": json.dumps({"archives": [], "datasets": datasets, "scenes": options["--scenes"].split(",")})}
    if verb == "prepare":
        return {"scene.json": "{}", "points.npz": "", "images/view.png": ""}
    if verb == "train":
        return {"model.safetensors": options["--params-json"], "train.json": "{}"}
    if verb == "encode":
        record = json.dumps({"rates": options["--rates"].split(",")})
        return {"encode.json": record} | {f"bitstreams/{rate}.gsc": rate for rate in options["--rates"].split(",")}
    if verb == "evaluate":
        rates = sorted(json.loads((Path(arguments[0]) / "encode.json").read_text())["rates"])
        assert all((Path(arguments[0]) / f"bitstreams/{rate}.gsc").is_file() for rate in rates)
        broken = os.environ.get("STUB_BROKEN")
        if broken in rates:
            print(f"{broken}: failed: the stub was asked to fail", file=sys.stderr)
            if "--keep-going" not in arguments:
                sys.exit(2)
        return {"points.csv": "rate\n" + "\n".join(rates), "views.csv": "view\n", "showcase/view.png": ""}
    if verb == "summarise":
        return dict.fromkeys(SUMMARY_FILES, "") | {"failures.csv": holes(options["--plan"])}
    if verb == "refit":
        return {"": "variant\n"}
    style = json.loads(Path(options["--style"]).read_text())
    if verb == "tables":
        return {f"{table}.{form}": "" for table in style["tables"] for form in ("csv", "md", "tex")}
    if verb == "figures":
        stems = [f"rd_{dataset['id']}" for dataset in style["datasets"]]
        stems += ["variable_rate"] if style["variable_rate"] else []
        stems += [f"visual_{item['dataset']}_{item['scene']}" for item in style["visual"]]
        return {f"{stem}.{form}": "<svg/>" for stem in stems for form in ("pdf", "svg", "png", "csv")}
    return {"index.html": "<!doctype html><title>stub</title>"}


def holes(plan: str) -> str:
    planned = json.loads(Path(plan).read_text())
    missing = [fit for fit in planned["fits"] if not (fit["finished"] and Path(fit["points"]).is_file())]
    missing += [comparison for comparison in planned["refit"] if not comparison["finished"]]
    return "\n".join(["method,scene,log"] + [f"{fit['method']},{fit['scene']},{deepest_log(fit)}" for fit in missing])


def deepest_log(fit: dict[str, dict[str, str]]) -> str:
    return next((log for log in reversed(fit["logs"].values()) if Path(log).is_file()), "")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
