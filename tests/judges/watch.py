"""Looks at what the modules of a loaded judge give while it answers."""

from contextlib import contextmanager

from torch.nn.modules.module import register_module_forward_hook


@contextmanager
def watch(*classes):
    """Collect each module of some classes that is called, with its output."""
    seen = []

    def keep(module, _, output):
        if isinstance(module, classes):
            seen.append((module, output))

    hook = register_module_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
