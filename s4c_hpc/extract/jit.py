"""The decorators of kernels, which other packages use as well."""

from s4c_hpc.core.jit import Compiled, helper, kernel

__all__ = ["Compiled", "helper", "kernel"]
