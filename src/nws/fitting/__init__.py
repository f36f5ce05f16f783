"""Many small fully connected nets, each fitted to a signal of its own on the same points (implicit representations of pictures).

problem.py   what is asked and what comes out, for either engine
engines.py   which engine does it
native/      in C++: 16 nets side by side, one net per lane of a vector register
batched.py   the reference in PyTorch: batched matrix products over nets; any shape, any device
module.py    one net as a PyTorch module
"""

from nws.fitting.engines import ENGINES, chosen, fit, why_not
from nws.fitting.problem import Fitted, Form, Problem

__all__ = ["ENGINES", "Fitted", "Form", "Problem", "chosen", "fit", "why_not"]
