"""The exceptions of qatdp: what went wrong, where, and how to mend it.

Each class knows the exit status a command ends with, or the gRPC code a call is answered with. A message names what
was tried, on what, and what came back; `hint` says what to do. Texts are lower case and end without a full stop.
"""


class QatdpError(Exception):
    """Anything that qatdp says of itself. `hint` is None where there is nothing to advise."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class AddressError(QatdpError):
    """A text that is not a valid PCI address."""

    exit_status = 2


class ConfigError(QatdpError):
    """A fault of the configuration; `key_path` tells where, such as `resources[2].policy`, "" for the whole file.

    `file` is the one that was read, None where none is known, or where the problem names it.
    """

    exit_status = 2

    def __init__(self, key_path: str, problem: str, *, hint: str | None = None, file: str | None = None) -> None:
        super().__init__(": ".join(filter(None, (file, key_path, problem))), hint=hint)
        self.key_path = key_path
        self.problem = problem

    def of_file(self, file: object) -> "ConfigError":
        """Return the same fault with the file that it is in."""
        return ConfigError(self.key_path, self.problem, hint=self.hint, file=str(file))


class AllocationError(QatdpError):
    """A request for devices that cannot be met. Its text is read by the pod's owner, in the pod's status.

    `reason` is a code of core/reasons.py.
    """

    grpc_code = "FAILED_PRECONDITION"

    def __init__(self, message: object, reason: str, *, hint: str | None = None) -> None:
        super().__init__(str(message), hint=hint)
        self.reason = reason


class UnknownDeviceError(AllocationError):
    """A request for a device that is not in the list of the resource."""

    grpc_code = "NOT_FOUND"


class RequestError(AllocationError):
    """A request that no kubelet sends, and that is not looked at."""

    grpc_code = "INVALID_ARGUMENT"


class OpenDeviceError(AllocationError):
    """A request for a device that somebody has open: whoever is given it as well could not open it (EBUSY)."""


class KubeletStateError(QatdpError):
    """The kubelet's state (PodResources or the checkpoint) could not be read: whatever they may name is held."""
