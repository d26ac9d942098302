"""CUDA graphs: a sequence of GPU kernels that is launched at once."""

from collections.abc import Callable

import torch
from torch import Tensor


class CudaGraph:
    """A function of tensors as a CUDA graph: its kernels without the Python that launches them.

    The kernels of a small model take less time than launching them one by one. Weights, gradients
    and other tensors that the function reads or writes besides its arguments have to stay at their
    place in memory. The function may not copy a number from the GPU.

    Args:
        function: called three times as warm-up and once for the capture; each call of the graph
            runs its kernels.
        examples: arguments of the function, with the shapes of all later ones.
    """

    def __init__(self, function: Callable[..., Tensor], *examples: Tensor) -> None:
        self._inputs = [example.clone() for example in examples]
        self._graph = torch.cuda.CUDAGraph()
        # Warm-up has a stream of its own: https://docs.pytorch.org/docs/stable/notes/cuda.html
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the kernels on new inputs, with all their effects, and return the output."""
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value)
        self._graph.replay()
        return self._output.clone()
