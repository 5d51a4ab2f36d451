"""The checks that every method must pass, for methods inside and outside this repository.

Owns the checks. A failed check raises :class:`ConformanceError`, which names the expectation. A check that cannot be
made here raises :class:`CannotCheckError`. Does not own any method.
``tests/contract`` runs all of them; ``pytest`` is not needed:

    specimen = make_specimen(Case(method="my_package.method:MyMethod", scene=scene, folder=folder))
    for check in CHECKS:
        check(specimen)
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from hemgs.bench.conformance_processes import AUDITED, KILLED, run_hemgs, run_python
from hemgs.bench.damage import damaged_copies, forged_copies
from hemgs.bench.decoding import bundles_equal, file_sections, method_of_bitstream
from hemgs.bench.encoding import run_encode, run_encode_file
from hemgs.bench.isolation import decode_alone
from hemgs.bench.rates import parse_rate, rate_of
from hemgs.bench.registry import get_method, list_methods
from hemgs.bench.runs import EncodeRecord, bitstream_path
from hemgs.bench.torch_defaults import TORCH_DEFAULTS
from hemgs.bench.training import TrainRequest, resolve_params, run_train
from hemgs.coding.container import inspect_container
from hemgs.core.bundle import Bundle
from hemgs.core.errors import BitstreamError, HemgsError
from hemgs.core.events import EventLog
from hemgs.core.files import sha256_of
from hemgs.core.timing import process_peak_mib, reset_process_peak
from hemgs.core.types import LmbdaInterval, Scene
from hemgs.data.loader import load_scene
from hemgs.data.prepare import prepare_scene
from hemgs.protocol import Method, Renderable
from hemgs.splats.init import cloud_from_points
from hemgs.splats.ply import write_ply

#: λ for which a method of kind ``per_rate`` is trained. Such a method must accept any λ.
LMBDA = 0.001
#: Settings for a short training with frequent reports and checkpoints, for methods that have these settings.
SHORT = {"iterations": 60, "log_every": 5, "checkpoint_every": 20}
#: The training is killed at its first report from this step on, which is between two checkpoints.
KILLED_AT = 30
#: Refusing a damaged file may take this much memory above that of the process, MiB.
MAX_REFUSAL_MIB = 512.0
#: Actual bits may differ from the model's estimate by this fraction, and by a coder's start and end per section.
MAX_OVERHEAD = 0.01
SLACK_BITS_PER_SECTION = 512
CPU = torch.device("cpu")

_TINY_DATASET: dict[str, Any] = {
    "id": "procedural",
    "label": "Procedural",
    "source": {
        "kind": "procedural",
        "procedural": {"num_views": 10, "width": 48, "height": 36, "num_points": 400, "seed": 0},
    },
    "protocol": {"max_width": None, "split": {"kind": "every_nth", "n": 5}, "background": [0.6, 0.7, 0.8]},
    "initial_points": {"kind": "sfm"},
    "scenes": {"court": {}},
}


class ConformanceError(AssertionError):
    """A method breaks the contract."""


class CannotCheckError(Exception):
    """A check needs a library that is not installed; the message names the library and the fix."""


@dataclass(frozen=True)
class Case:
    """The method to check, and the scene and folder for it.

    Attributes:
        method: id, or ``package.module:Class``.
        scene: a prepared scene, such as that of :func:`make_tiny_scene`.
        folder: folder of temporary files.
        params: settings that replace the method's defaults and :data:`SHORT`.
        texts: further settings as typed by a person.
    """

    method: str
    scene: Path
    folder: Path
    params: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Specimen:
    """A method with one trained model and its bitstreams, on which the checks run."""

    case: Case
    method: Method
    scene: Scene
    request: TrainRequest
    points: Path
    record: EncodeRecord

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.request.out

    @property
    def bitstream(self) -> Path:
        """The bitstream of the first rate."""
        return bitstream_path(self.points, next(iter(self.record.rates)))

    @property
    def entry(self) -> str:
        """Id or entry of the method."""
        return self.case.method


def make_tiny_scene(folder: Path) -> Path:
    """Prepare the scene of the checks: procedural, ten views of 48 x 36 pixels."""
    with EventLog() as events:
        prepare_scene(_TINY_DATASET, "court", folder, events=events)
    return folder


def make_specimen(case: Case, device: torch.device = CPU) -> Specimen:
    """Train the method of a case and encode its model."""
    method = get_method(case.method)
    known = {entry.name for entry in fields(method.Params)}
    params = {**{name: value for name, value in SHORT.items() if name in known}, **case.params}
    params = resolve_params(method, params, case.texts)
    rate_id = rate_of(LMBDA).id if method.spec.kind == "per_rate" else None
    base = _untrained_base(case) if method.spec.kind == "post" else None
    request = TrainRequest(case.scene, case.method, case.folder / "model", rate=rate_id, params=params, base=base)
    run_train(request, device)
    rates = [rate_of(lmbda) for lmbda in _three_of(method.spec.lmbda_interval)]
    record = run_encode(request.out, case.folder / "points", rates, device)
    return Specimen(case, method, load_scene(case.scene), request, case.folder / "points", record)


def _untrained_base(case: Case) -> Path:
    """Write Gaussians at the scene's points to a file that methods of kind ``post`` can start from."""
    scene, path = load_scene(case.scene), case.folder / "base.ply"
    write_ply(path, cloud_from_points(scene.points, scene.point_colors, sh_degree=3))
    return path


def _three_of(interval: LmbdaInterval | None) -> tuple[float, ...]:
    """Return the ends and the middle of an interval of λ; no λ without an interval."""
    if interval is None:
        return ()
    return interval.low, float(f"{math.sqrt(interval.low * interval.high):.6g}"), interval.high


def check_import_without_gpu(specimen: Specimen) -> None:
    """Check that the method can be found and described where there is no GPU."""
    code = "import sys; from hemgs.bench.registry import get_method; print(get_method(sys.argv[1]).spec.id)"
    done = run_python(["-c", code, specimen.entry], CUDA_VISIBLE_DEVICES="")
    _expect(
        done.returncode == 0 and done.stdout.strip() == specimen.method.spec.id, f"cannot be imported:\n{done.stderr}"
    )


def check_files_name_their_method(specimen: Specimen) -> None:
    """Check that files contain the id of the method that wrote them, and that this id leads to a decoder of them.

    Users decode by the id in the file. If a method with this id is installed, it must return the same scene. A method
    that is not installed is found by its class only.
    """
    own = specimen.method.spec.id
    for rate_id in specimen.record.rates:
        path = bitstream_path(specimen.points, rate_id)
        found = inspect_container(path).method
        _expect(found == own, f"{rate_id}: the file names the method {found!r}, but {own!r} wrote it")
        if own not in list_methods():
            continue
        try:
            scene = method_of_bitstream(path).decode(path, device=CPU)
        except HemgsError as fault:
            raise ConformanceError(f"{rate_id}: the method installed as {own!r} cannot decode it: {fault}") from fault
        equal = bundles_equal(specimen.method.decode(path, device=CPU).to_bundle(), scene.to_bundle())
        _expect(equal, f"{rate_id}: the method installed as {own!r} decodes another scene from it")


def check_encode_is_deterministic(specimen: Specimen) -> None:
    """Check that another process, with another number of threads, writes the same bytes."""
    threads = "2" if torch.get_num_threads() == 1 else "1"
    out = specimen.case.folder / "again"
    rates = ["--rates", ",".join(specimen.record.rates)]
    done = run_hemgs(
        ["encode", str(specimen.model), *rates, "--out", str(out), "--device", "cpu"], OMP_NUM_THREADS=threads
    )
    _expect(done.returncode == 0, f"encoding again failed:\n{done.stderr}")
    for rate_id, encoded in specimen.record.rates.items():
        found = sha256_of(bitstream_path(out, rate_id))
        _expect(found == encoded.sha256, f"{rate_id}: encoding again gave other bytes")


def check_decode_matches_encoder(specimen: Specimen) -> None:
    """Check that a new process, with only the file, decodes and renders exactly what the encoder's process does."""
    view = specimen.scene.split("test")[0]
    for rate_id in specimen.record.rates:
        path = bitstream_path(specimen.points, rate_id)
        here = specimen.method.decode(path, device=CPU)
        with decode_alone(path, CPU, specimen.entry) as there:
            equal = bundles_equal(here.to_bundle(), there.renderable.to_bundle())
            _expect(equal, f"{rate_id}: another process decoded something else")
            pictures = [_render(specimen, renderable, view.name) for renderable in (here, there.renderable)]
        _expect(torch.equal(*pictures), f"{rate_id}: the decoded scenes render differently")


def check_torch_defaults_do_not_matter(specimen: Specimen) -> None:
    """Check that a caller's defaults of torch change no byte, no decoded tensor and no picture."""
    view, path = specimen.scene.split("test")[0], specimen.case.folder / "other_defaults.gsc"
    rate_id, encoded = next(iter(specimen.record.rates.items()))

    def outcome() -> tuple[Bundle, torch.Tensor]:
        decoded = specimen.method.decode(specimen.bitstream, device=CPU)
        return decoded.to_bundle(), _render(specimen, decoded, view.name)

    bundle, picture = outcome()
    for what, change in TORCH_DEFAULTS.items():
        with change():
            try:
                again = run_encode_file(specimen.model, path, parse_rate(rate_id), CPU)
                other_bundle, other_picture = outcome()
            except Exception as fault:
                raise ConformanceError(f"{what}: {type(fault).__name__}: {fault}") from fault
        _expect(again.sha256 == encoded.sha256, f"{what}: encoding gave other bytes")
        _expect(bundles_equal(bundle, other_bundle), f"{what}: decoding gave another scene")
        _expect(torch.equal(picture, other_picture), f"{what}: rendering gave another picture")


def check_render_is_stateless(specimen: Specimen) -> None:
    """Check that a view is a finite picture of its camera's size and depends on nothing that was drawn before."""
    random_state = torch.get_rng_state()
    renderable = specimen.method.decode(specimen.bitstream, device=CPU)
    names = [view.name for view in specimen.scene.views[:3]]
    forwards = {name: _render(specimen, renderable, name) for name in names}
    backwards = {name: _render(specimen, renderable, name) for name in reversed(names)}
    for view in specimen.scene.views[:3]:
        picture = forwards[view.name]
        size = (view.camera.height, view.camera.width, 3)
        _expect(
            picture.dtype == torch.float32 and tuple(picture.shape) == size,
            f"{view.name}: a picture of {picture.dtype} {tuple(picture.shape)}, not float32 {size}",
        )
        _expect(bool(torch.isfinite(picture).all()), f"{view.name}: values that are not finite")
        _expect(torch.equal(picture, backwards[view.name]), f"{view.name}: rendering depends on what came before")
    same = torch.equal(random_state, torch.get_rng_state())
    _expect(same, "decoding or rendering advances torch's random state: a training in the same process would differ")


def check_sections_add_up(specimen: Specimen) -> None:
    """Check that reported sections, the file's own table and the length of the file agree, to the byte."""
    for rate_id, encoded in specimen.record.rates.items():
        path = bitstream_path(specimen.points, rate_id)
        _expect(file_sections(path) == dict(encoded.sections), f"{rate_id}: the file's table differs from the report")
        _expect(encoded.total_bytes == path.stat().st_size, f"{rate_id}: sections do not add up to the file")


def check_damage_is_refused(specimen: Specimen) -> None:
    """Check that cut, flipped, wrong-version and 4 GiB files raise BitstreamError, at once and without much memory."""
    path, scratch = specimen.case.folder / "damaged.gsc", specimen.case.folder / "forged.gsc"
    reset_process_peak()
    before_mib = process_peak_mib()
    for damaged in (*damaged_copies(specimen.bitstream), *forged_copies(specimen.bitstream, scratch)):
        path.write_bytes(damaged.data)
        try:
            specimen.method.decode(path, device=CPU)
        except BitstreamError as fault:
            _expect(str(path) in str(fault), f"{damaged.what}: the message does not name the file: {fault}")
            continue
        except Exception as fault:
            kind = type(fault).__name__
            raise ConformanceError(f"{damaged.what}: {kind} instead of BitstreamError: {fault}") from fault
        _expect(not damaged.refused, f"{damaged.what}: was decoded")
    grown_mib = process_peak_mib() - before_mib
    _expect(grown_mib < MAX_REFUSAL_MIB, f"refusing damaged files took {grown_mib:.0f} MiB")


def check_decode_reads_only_the_file(specimen: Specimen) -> None:
    """Check that decoding opens the bitstream, code, caches and assets only, with model and scene out of reach."""
    folder = specimen.case.folder
    hidden = folder / "hidden"
    specimen.model.rename(hidden)
    try:
        done = run_python(["-c", AUDITED, specimen.entry, str(specimen.bitstream)])
    finally:
        hidden.rename(specimen.model)
    _expect(done.returncode == 0, f"decoding without the model failed:\n{done.stderr}")
    _expect(not done.stdout.strip(), f"decoding opened\n{done.stdout}")


def check_killed_training_resumes(specimen: Specimen) -> None:
    """Check that a killed training leaves no result, and that run again it gives the model of an uninterrupted one."""
    request, out = specimen.request, specimen.case.folder / "resumed"
    arguments = ["train", str(request.scene), "--method", specimen.entry, "--device", "cpu"]
    arguments += ["--params-json", json.dumps(dict(request.params))]
    arguments += ["--rate", request.rate] if request.rate else []
    arguments += ["--base", str(request.base)] if request.base else []
    # In a process with the same environment: sums in float32 depend on the number of threads, which a caller may have
    # changed.
    whole = specimen.case.folder / "uninterrupted"
    straight = run_hemgs([*arguments, "--out", str(whole)])
    _expect(straight.returncode == 0, f"training failed:\n{straight.stderr}")
    arguments += ["--out", str(out)]
    killed = run_python(["-c", KILLED, str(KILLED_AT), *arguments])
    _expect(killed.returncode == -9, f"to be killed, the training ended with {killed.returncode}:\n{killed.stderr}")
    left = {path.name for path in out.iterdir()} & {"model.safetensors", "train.json"}
    _expect(not left, f"the killed training left {', '.join(sorted(left))}")
    _expect(any((out / "work").iterdir()), "the killed training left nothing to resume from")
    resumed = run_hemgs(arguments)
    _expect(resumed.returncode == 0, f"resuming failed:\n{resumed.stderr}")
    _expect('"event": "resumed"' in (out / "events.jsonl").read_text(), "the second run started from the beginning")
    found, expected = sha256_of(out / "model.safetensors"), sha256_of(whole / "model.safetensors")
    _expect(found == expected, "the resumed training gave another model than the uninterrupted one")


def check_ply_opens(specimen: Specimen) -> None:
    """Check that an independent PLY reader reads the export, with the properties of 3DGS and finite values.

    Raises:
        CannotCheckError: the reader, plyfile, is not installed.
    """
    if importlib.util.find_spec("plyfile") is None:
        raise CannotCheckError("plyfile is not installed: pip install plyfile")
    import numpy as np
    from plyfile import PlyData

    path = specimen.case.folder / "export.ply"
    cloud = specimen.method.decode(specimen.bitstream, device=CPU).to_splats()
    write_ply(path, cloud)
    vertices = PlyData.read(path)["vertex"]
    names = {prop.name for prop in vertices.properties}
    needed = {"x", "y", "z", "opacity", *(f"f_dc_{i}" for i in range(3)), *(f"scale_{i}" for i in range(3))}
    _expect(needed | {f"rot_{i}" for i in range(4)} <= names, f"properties are missing: only {sorted(names)}")
    _expect(len(vertices) == cloud.num_gaussians > 0, f"{len(vertices)} vertices for {cloud.num_gaussians} Gaussians")
    _expect(all(np.isfinite(vertices[name]).all() for name in names), "values that are not finite")


def check_rates_are_monotone(specimen: Specimen) -> None:
    """Check that bytes fall strictly as λ rises, for a method with one model for all rates."""
    sizes = [encoded.total_bytes for encoded in specimen.record.rates.values()]
    lmbdas = [encoded.lmbda for encoded in specimen.record.rates.values()]
    falling = all(smaller < larger for larger, smaller in itertools.pairwise(sizes))
    _expect(falling, f"sizes {sizes} do not fall for λ {lmbdas}")


def check_estimates_hold(specimen: Specimen) -> None:
    """Check that entropy-coded sections take the bits that their model estimates, within 1 % and the coder's ends."""
    for rate_id, encoded in specimen.record.rates.items():
        estimated = sum(encoded.estimated_bits.values())
        coded = 8 * sum(encoded.sections[name] for name in encoded.estimated_bits)
        slack = SLACK_BITS_PER_SECTION * len(encoded.estimated_bits)
        _expect(
            abs(coded - estimated) <= MAX_OVERHEAD * estimated + slack,
            f"{rate_id}: {coded} bits in the file, {estimated:.0f} estimated",
        )


#: Every check, in the order from basic to particular.
CHECKS: tuple[Callable[[Specimen], None], ...] = (
    check_import_without_gpu,
    check_sections_add_up,
    check_files_name_their_method,
    check_encode_is_deterministic,
    check_decode_matches_encoder,
    check_torch_defaults_do_not_matter,
    check_render_is_stateless,
    check_damage_is_refused,
    check_decode_reads_only_the_file,
    check_killed_training_resumes,
    check_ply_opens,
    check_rates_are_monotone,
    check_estimates_hold,
)


def _render(specimen: Specimen, renderable: Renderable, name: str) -> torch.Tensor:
    camera = next(view.camera for view in specimen.scene.views if view.name == name)
    with torch.no_grad():
        return renderable.render(camera, specimen.scene.background).cpu()


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)
