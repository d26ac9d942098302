"""What a GPU runs again and again, launched at once."""

from collections.abc import Callable

import torch
from torch import Tensor


class CudaGraph:
    """A function of tensors as a CUDA graph: its kernels without the Python that launches them.

    A small model's kernels take less time than it takes to launch them one by one. What the
    function reads and writes besides its arguments, such as weights and gradients, has to stay at
    its place in memory, and it may not ask the GPU for a number.

    Args:
        function: runs a few times now, as warm-up, and then once for each call.
        examples: arguments for it, with the shapes that all have.
    """

    def __init__(self, function: Callable[..., Tensor], *examples: Tensor) -> None:
        self._inputs = [example.clone() for example in examples]
        self._graph = torch.cuda.CUDAGraph()
        # On a stream of its own, as CUDA asks: https://docs.pytorch.org/docs/stable/notes/cuda.html
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What the function gives; its effects on what it changes happen, too."""
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value)
        self._graph.replay()
        return self._output.clone()
