# Requests for archives that contain several scenes.


def archive_request(name):
    """Return the files of the datasets that share an archive, and all selected scenes of these datasets.

    The disk must also have room for the downloads of their other archives. If the archive was fetched for these scenes
    and more, the function returns that earlier request. A smaller selection therefore does not fetch again, and runs
    for different scenes can be active at the same time.
    """
    sharing = dict.fromkeys(dataset for (dataset, _), names in ARCHIVES.items() if name in names)
    request = {
        "datasets": [str(BENCHMARK.datasets[dataset].file) for dataset in sharing],
        "scenes": ["/".join(place) for place in SCENES if place[0] in sharing],
    }
    record = Path(f"results/data/fetched/{name}.json")
    known = json.loads(record.read_text()) if record.is_file() else {}
    covered = all(set(values) <= set(known.get(key, ())) for key, values in request.items())
    return known if covered else request


# Looked up once: the record does not exist while it is made again.
REQUESTS = {
    name: archive_request(name) for name in dict.fromkeys(name for names in ARCHIVES.values() for name in names)
}


def archive_datasets(wildcards):
    return " ".join(f"--dataset {shlex.quote(file)}" for file in REQUESTS[wildcards.archive]["datasets"])


def archive_scenes(wildcards):
    return ",".join(REQUESTS[wildcards.archive]["scenes"])
