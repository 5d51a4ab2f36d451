# Requests for archives that contain several scenes.


def archive_request(name):
    """Files of the datasets that share an archive, and all scenes selected of them: the disk must have room for what the
    jobs of their other archives fetch, too.

    Where it was fetched for these and more, what was asked for then: a selection of scenes does not ask again, and runs
    for different ones can go on side by side.
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
