"""How ``training.fast`` and ``inference`` make a network faster: they replace modules, and weights keep their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import nn

Rewrites: TypeAlias = Mapping[type[nn.Module], Callable[[Any], nn.Module]]


def rewrite(module: nn.Module, rewrites: Rewrites) -> None:
    """Replace, in place, each descendant that is exactly of a type in ``rewrites``, but not its own children."""
    for name, child in list(module.named_children()):
        if type(child) in rewrites:
            setattr(module, name, rewrites[type(child)](child))
        else:
            rewrite(child, rewrites)


def take_over(new: nn.Module, old: nn.Module) -> None:
    """Initialise a new module with the weights, buffers, children and settings of an old one; nothing is copied."""
    nn.Module.__init__(new)
    vars(new).update(vars(old))
