"""Every method of this repository is trained and encoded on CUDA; its files are decoded on both devices."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch

from hemgs.bench.conformance import Case, make_specimen, make_tiny_scene
from hemgs.render import cuda
from tests.contract.test_methods import PARAMS, TOY, TOY_POST

pytestmark = pytest.mark.gpu

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
METHODS: dict[str, str] = PROJECT["project"]["entry-points"]["hemgs.methods"] | {TOY: TOY, TOY_POST: TOY_POST}
#: Eight-bit levels between two pictures of the same decoded scene, on average; see ``test_render_cuda``.
MEAN_LEVELS = 0.05


@pytest.fixture(scope="module")
def tiny_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if torch.cuda.is_available():
        cuda.load_gsplat()
    return make_tiny_scene(tmp_path_factory.mktemp("tiny") / "scene")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_cuda_trained_and_wrote_decodes_equally_everywhere(name: str, tiny_scene: Path, tmp_path: Path) -> None:
    specimen = make_specimen(Case(METHODS[name], tiny_scene, tmp_path, PARAMS.get(name, {})), torch.device("cuda"))
    decoded = {
        device: specimen.method.decode(specimen.bitstream, device=torch.device(device)) for device in ("cpu", "cuda")
    }
    bundles = {device: scene.to_bundle() for device, scene in decoded.items()}
    assert bundles["cpu"].meta == bundles["cuda"].meta
    for key, tensor in bundles["cpu"].tensors.items():
        assert torch.equal(tensor, bundles["cuda"].tensors[key].cpu()), key
    camera = specimen.scene.split("test")[0].camera
    pictures = [renderable.render(camera, specimen.scene.background).cpu() for renderable in decoded.values()]
    assert (pictures[0] - pictures[1]).abs().mean() < MEAN_LEVELS / 255
    target = torch.from_numpy(specimen.scene.read_image(specimen.scene.split("train")[0]))
    picture = decoded["cuda"].render(specimen.scene.split("train")[0].camera, specimen.scene.background).cpu()
    blank = torch.tensor(specimen.scene.background)
    assert (picture - target).square().mean() < (blank - target).square().mean()
