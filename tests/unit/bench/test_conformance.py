"""The contract's checks: a toy passes them, and each broken toy fails the check for its fault."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from hemgs.bench import conformance
from hemgs.bench.conformance import CHECKS, CannotCheckError, Case, ConformanceError, Specimen, make_specimen
from hemgs.bench.registry import get_method
from tests.unit.bench.conftest import TOY

PARAMS = {"iterations": 60}


@pytest.fixture(scope="module")
def specimen(scene_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    return make_specimen(Case(f"{TOY}ToyAll", scene_dir, tmp_path_factory.mktemp("specimen"), PARAMS))


#: Checks that start processes, each of which imports torch.
IN_PROCESSES = (
    conformance.check_decode_matches_encoder,
    conformance.check_decode_reads_only_the_file,
    conformance.check_encode_is_deterministic,
    conformance.check_killed_training_resumes,
)


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=[pytest.mark.slow] * (check in IN_PROCESSES)) for check in CHECKS],
    ids=lambda check: check.__name__,
)
def test_toy_passes(specimen: Specimen, check: Callable[[Specimen], None]) -> None:
    check(specimen)


def test_every_check_is_listed() -> None:
    names = {name for name in vars(conformance) if name.startswith("check_")}
    assert names == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        ("Trusting", conformance.check_damage_is_refused, "was decoded|instead of BitstreamError"),
        ("Peeking", conformance.check_decode_reads_only_the_file, r"encode\.json"),
        ("Flat", conformance.check_rates_are_monotone, "do not fall"),
        ("Boasting", conformance.check_estimates_hold, "bits in the file"),
        ("Moody", conformance.check_render_is_stateless, "depends on what came before"),
        ("Impostor", conformance.check_files_name_their_method, "names the method 'toy_all', but 'impostor' wrote it"),
        ("Namesake", conformance.check_files_name_their_method, "installed as 'hac' cannot decode it"),
        ("Untyped", conformance.check_torch_defaults_do_not_matter, "float64: decoding gave another scene"),
        ("Drawing", conformance.check_render_is_stateless, "random state"),
        pytest.param(
            *("Forgetful", conformance.check_killed_training_resumes, "nothing to resume|from the beginning"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_broken_toys_are_caught(
    scene_dir: Path, tmp_path: Path, kind: str, check: Callable[[Specimen], None], message: str
) -> None:
    specimen = make_specimen(Case(f"{TOY}{kind}", scene_dir, tmp_path, PARAMS))
    with pytest.raises(ConformanceError, match=message):
        check(specimen)


@pytest.mark.slow
def test_other_bytes_from_another_process_are_caught(
    scene_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specimen = make_specimen(Case(f"{TOY}ToyAll", scene_dir, tmp_path, PARAMS))
    first = next(iter(specimen.record.rates))
    object.__setattr__(specimen.record.rates[first], "sha256", "0" * 64)
    with pytest.raises(ConformanceError, match="other bytes"):
        conformance.check_encode_is_deterministic(specimen)
    monkeypatch.setattr(conformance, "sha256_of", str)  # every file has its own
    with pytest.raises(ConformanceError, match="another model"):
        conformance.check_killed_training_resumes(specimen)


def test_an_installed_method_decodes_its_files_by_the_id_in_them(
    specimen: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installed method with the toy's id is another one that decodes the same files to other colours."""
    for kind, expected in (("ToyAll", None), ("Fading", "decodes another scene")):
        entries = {"toy_all": f"{TOY}{kind}"}
        monkeypatch.setattr(conformance, "list_methods", lambda entries=entries: entries)
        found = get_method(entries["toy_all"])
        monkeypatch.setattr(type(found), "spec", specimen.method.spec)
        monkeypatch.setattr(conformance, "method_of_bitstream", lambda path, found=found: found)
        with pytest.raises(ConformanceError, match=expected) if expected else nullcontext():
            conformance.check_files_name_their_method(specimen)


def test_without_plyfile_its_check_is_left_out(specimen: Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CannotCheckError, match="plyfile is not installed: pip install plyfile"):
        conformance.check_ply_opens(specimen)
