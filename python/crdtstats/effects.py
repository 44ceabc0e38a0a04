"""What the engine says has to be done. What the classes are is in the stub beside."""

from crdtstats._core import Block, Effects, FlushPlan

__all__ = ["Block", "Effects", "FlushPlan"]
