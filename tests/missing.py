"""A machine without some package, for tests of what is said then."""

import sys


class _Finder:
    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


def hide(monkeypatch, package):
    """Until the end of the test, `package` is as if it were not installed."""
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [_Finder(package), *sys.meta_path])
