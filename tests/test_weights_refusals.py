"""Every source of every method's checkpoints: read whole, and refused where a key is missing, extra or misshapen.

Networks and checkpoints are of the meta device, so that the large ones cost nothing; what concerns files (hash, code in
a pickle, damage) comes before names and is tested in test_weights.py.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from harness.errors import WeightsError
from harness.methods import methods
from harness.weights import KeyMap, loading

FILE = Path("release.pth")


def network(name: str, preset: str) -> nn.Module:
    with torch.device("meta"):
        return methods[name].build(methods[name].presets[preset].options)


def checkpoint(module: nn.Module, source: KeyMap) -> dict[str, torch.Tensor]:
    """The network's tensors as that source's programs write them."""
    theirs = {source.theirs(key): value for key, value in module.state_dict().items()}
    with torch.device("meta"):
        return source.pack(theirs) if source.pack else theirs


def forms() -> dict[str, tuple[str, str, KeyMap]]:
    """One preset for every class of network of every method, and its sources."""
    found = {}
    for name in methods:
        classes: dict[tuple, str] = {}
        for preset, given in methods[name].presets.items():
            shape = (given.options.get("network"), given.options.get("decoder"), given.options.get("depth"))
            classes.setdefault(shape, preset)
        for preset in classes.values():
            module = network(name, preset)
            for source in loading.key_sources(module):
                # mmpose's DEKR keeps several of our tensors in one: a message names those that it would become
                if name == "dekr" and source.source.startswith("mmpose"):
                    continue
                # a network without such a head cannot come from there
                if source.fits(map(source.theirs, module.state_dict())):
                    found[f"{name}-{preset}-{source.source}"] = (name, preset, source)
    return found


FORMS = forms()


@pytest.fixture
def read(monkeypatch):
    """Loads tensors as if they had been in FILE."""

    def load(module: nn.Module, tensors: dict[str, torch.Tensor]) -> loading.LoadedWeights:
        monkeypatch.setattr(loading, "find_weights", lambda source: (source, None))
        monkeypatch.setattr(loading, "sha256_of", lambda path: "0" * 64)
        monkeypatch.setattr(loading, "read_checkpoint", lambda path: (tensors, {}))
        with torch.device("meta"):
            return loading.load(module, FILE)

    return load


@pytest.mark.parametrize("form", FORMS)
def test_what_does_not_fit_is_named_as_the_file_names_it(form: str, read) -> None:
    name, preset, source = FORMS[form]
    module = network(name, preset)
    tensors = checkpoint(module, source)
    assert read(module, tensors).source == source.source
    keys = [key for key in tensors if not key.endswith("num_batches_tracked")]
    some = dict.fromkeys((keys[0], keys[len(keys) // 2], keys[-1]))
    for key in some:
        without = {other: value for other, value in tensors.items() if other != key}
        longer = torch.cat((tensors[key].flatten(), tensors[key].flatten()))
        faults = {
            "missing": (without, key),
            "not known to the network": ({**tensors, f"{key}_more": tensors[key]}, f"{key}_more"),
            "of another shape": ({**tensors, key: longer}, key),
        }
        for fault, (altered, named) in faults.items():
            with pytest.raises(WeightsError) as refusal:
                read(module, altered)
            message = str(refusal.value)
            # a fault in one of three tensors that become one is found in the one
            spelt = named.replace(".query.", ".qkv.").replace(".key.", ".qkv.").replace(".value.", ".qkv.")
            assert FILE.name in message
            assert named in message or spelt in message, message
            assert fault in message or spelt != named, message
