"""Crops sampled in torch against OpenCV's, and networks with their normalisation folded against themselves."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from harness.inference import RANDOM, load_method
from harness.inference.folding import folded
from harness.inference.normalising import Normaliser
from harness.inference.sampling import sample
from harness.inference.task import placed
from harness.methods import CropSpec


@pytest.mark.parametrize("turned", [False, True])
def test_sampled_crops_equal_those_of_opencv_bit_for_bit(turned):
    generator = np.random.default_rng(3)
    for _ in range(25):
        height, width = generator.integers(20, 200, 2)
        picture = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        size = tuple(int(side) for side in generator.integers(8, 120, 2))
        angle = generator.uniform(-3, 3) if turned else 0.0
        zoom = generator.uniform(0.2, 5)
        matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]) * zoom
        matrix[:, 2] = generator.uniform(-150, 60, 2)
        expected = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR)
        found = sample(torch.from_numpy(picture), np.stack([matrix, matrix]), size)
        assert np.array_equal(found[0].numpy(), expected) and np.array_equal(found[1].numpy(), expected)


def test_a_crop_beside_the_picture_is_black():
    picture = torch.full((10, 10, 3), 200, dtype=torch.uint8)
    assert not sample(picture, np.array([[[1.0, 0, 100], [0, 1, 0]]]), (8, 8)).any()


def test_normaliser_gives_the_formula_and_uses_its_memory_again():
    spec = CropSpec((6, 4))
    crops = torch.randint(0, 256, (3, 2, 4, 6, 3), dtype=torch.uint8)
    normaliser = Normaliser(spec, torch.device("cpu"))
    expected = (crops / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    found = normaliser(crops)
    torch.testing.assert_close(found, expected.permute(0, 1, 4, 2, 3))
    assert normaliser(crops[:1]).data_ptr() == found.data_ptr()


def normalised(network):
    """Running statistics and weights that make folding visible."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, -1, 1)
    return network.eval()


class Branching(nn.Module):
    """One normalisation that may be folded and one that may not: its input is used beside it, too."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, clips):
        found = self.norm(self.first(clips[:, 0])).relu()
        middle = self.second(found)
        return self.other(middle) + middle


def test_folding_keeps_a_network_it_cannot_fold_correctly():
    network = normalised(Branching())
    example = torch.randn(1, 1, 3, 8, 8)
    same = folded(network, example)
    torch.testing.assert_close(same(example), network(example))
    assert same is network


@pytest.mark.parametrize("name", ["hrnet", "simple_baseline"])
def test_folded_methods_give_the_same_maps_with_fewer_layers(name):
    method = load_method(name, preset="tiny", weights=RANDOM).method
    normalised(method.module)
    quick = placed(method, torch.device("cpu"), fold=True)
    clips = torch.randn(2, 1, 3, 128, 96)
    with torch.inference_mode():
        before, after = method.module(clips), quick.module(clips)
    assert (before - after).abs().max() < 1e-4 * before.abs().max()
    left = [
        sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) for network in (method.module, quick.module)
    ]
    assert left[0] > 20 and left[1] == 0
