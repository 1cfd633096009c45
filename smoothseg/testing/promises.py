"""What is a check, and which promises must components of every kind keep?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ["Check", "assert_all", "digests_check", "first_line", "protocol_check"]

_CONTAINER = ("__len__", "__getitem__")


@dataclasses.dataclass(frozen=True)
class Check:
    """One promise of a protocol.

    name: one word.
    promise: what is checked, in a few words.
    why: what goes wrong in a certificate if the promise is broken, in a sentence or two.
    run: raises `AssertionError` with what was expected and what came, or whatever the component raises.
    vital: if this check fails, no other check of the component makes sense.
    """

    name: str
    promise: str
    why: str
    run: Callable[[], None]
    vital: bool = False

    def failure(self) -> str | None:
        """Return in one line how the promise was broken, or None if it is kept."""
        try:
            self.run()
        except AssertionError as error:
            return first_line(error)
        except Exception as error:  # a plugin may raise anything; that is a finding, too
            return f"it raised {type(error).__name__}: {first_line(error)}"
        return None


def assert_all(checks: tuple[Check, ...]) -> None:
    """Run `checks` in order, up to the first that raises."""
    for check in checks:
        check.run()


def first_line(error: Exception) -> str:
    """Return the first line of the message of `error`, or `no message`."""
    return (str(error).strip() or "no message").splitlines()[0]


def protocol_check(component: Any, protocol: type[Any]) -> Check:
    """Return the check that `component` has every member of `protocol`."""

    def run() -> None:
        members = sorted(name for name in vars(protocol) if not name.startswith("_") or name in _CONTAINER)
        missing = [name for name in members if not hasattr(component, name)]
        assert not missing, (
            f"{type(component).__name__} is no smoothseg.{protocol.__name__}: it lacks {', '.join(missing)}"
        )

    why = "smoothseg calls a component by the names of its protocol and by no others."
    return Check("protocol", f"it has what smoothseg.{protocol.__name__} names", why, run, vital=True)


def digests_check(component: Any) -> Check:
    """Return the check that `component.digests` maps names to SHA-256 digests in hexadecimal."""

    def run() -> None:
        for name, digest in component.digests.items():
            right = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
            assert right, f"digest of {name}: expected 64 hexadecimal digits, got {digest!r}"

    why = "The digests go into every certificate and tell which weights it was made with."
    return Check("digests", "weight files are named by their sha256", why, run)
