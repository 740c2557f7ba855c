"""ONNX files by hand: one convolution, in the wire format of protocol buffers, since no exporter is needed here."""

import numpy as np


def convolution_file(
    weight: np.ndarray, *, stride: int, size: tuple[int, int], batch: int | str = "batch", output: str = "heatmaps"
) -> bytes:
    """A model of one convolution (J,C,k,k) without padding on images (batch,C,height,width)."""
    joints, channels, kernel, _ = weight.shape
    attributes = {"kernel_shape": [kernel, kernel], "strides": [stride, stride]}
    node = _text(1, "clips") + _text(1, "weight") + _text(2, output) + _text(4, "Conv")
    for name, values in attributes.items():
        integers = b"".join(_number(8, value) for value in values)
        node += _block(5, _text(1, name) + integers + _number(20, 7))
    tensor = b"".join(_number(1, length) for length in weight.shape) + _number(2, 1) + _text(8, "weight")
    tensor += _block(9, weight.astype("<f4").tobytes())
    height, width = (length // stride for length in (size[1], size[0]))
    graph = _block(1, node) + _text(2, "one convolution") + _block(5, tensor)
    graph += _block(11, _value("clips", [batch, channels, size[1], size[0]]))
    graph += _block(12, _value(output, [batch, joints, height, width]))
    return _number(1, 8) + _block(8, _text(1, "") + _number(2, 13)) + _block(7, graph)


def _value(name: str, shape: list[int | str]) -> bytes:
    dimensions = b"".join(
        _block(1, _text(2, length) if isinstance(length, str) else _number(1, length)) for length in shape
    )
    return _text(1, name) + _block(2, _block(1, _number(1, 1) + _block(2, dimensions)))


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _block(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _block(field, content.encode())
