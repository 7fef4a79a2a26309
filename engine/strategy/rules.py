"""What a strategy may import and call, what it may not, and what to use instead: the sandbox's tables.

Everything here is data, shared by the lint, the imports and the audit hook, so that all three give the
same answer in the same words. Names are dotted, as if imported whole: "datetime.datetime.now".
"""

from __future__ import annotations

from typing import NamedTuple


def _words(text: str) -> list[str]:
    """A table's names, written as they are read."""
    return text.split()


class Refusal(NamedTuple):
    """Why something is refused, and what to use instead."""

    why: str
    instead: str


CLOCK = Refusal(
    "reads the machine's clock, which no replay sees again",
    "use ctx.now for the time, ctx.at and ctx.every for timers",
)
CHANCE = Refusal("draws numbers that no replay draws again", "use ctx.random, which is seeded")
NETWORK = Refusal(
    "reaches the network",
    "what a strategy may know arrives as events (on_news, on_trade, …); orders leave through ctx",
)
FILES = Refusal("reads or writes files", "pass values as parameters (--set, --config); write with ctx.log")
MACHINE = Refusal("reaches the machine around the run", "pass values as parameters (--set, --config)")
BESIDE = Refusal(
    "runs beside the loop, in an order that no replay repeats",
    "do the work inside a handler; ctx.at and ctx.every call one later",
)
PYTHON = Refusal("reaches into Python itself", "write it out as plain code")
OUTPUT = Refusal("writes past the run's journal", "use ctx.log")
ADDRESS = Refusal(
    "depends on memory addresses or the process's hash seed",
    "use instrument.index or instrument.key, an order's number, or a counter of your own",
)
EMPTY = Refusal("returns whatever the memory held before", "use numpy.zeros")
SET_ORDER = Refusal(
    "takes a set's order, which differs from process to process",
    "use sorted(…), or a dict, which keeps the order of insertion",
)

MODULES_REFUSED: dict[str, Refusal] = {
    **dict.fromkeys(("time", "sched", "zoneinfo", "calendar"), CLOCK),
    **dict.fromkeys(("random", "secrets", "uuid"), CHANCE),
    **dict.fromkeys(
        _words(
            "socket socketserver ssl select selectors http urllib xmlrpc ftplib smtplib imaplib "
            "poplib telnetlib requests httpx httpx2 aiohttp websockets websocket ccxt anthropic "
            "webbrowser"
        ),
        NETWORK,
    ),
    **dict.fromkeys(
        _words(
            "io pathlib shutil tempfile glob fileinput csv configparser tomllib sqlite3 dbm shelve "
            "pickle marshal mmap zipfile tarfile gzip bz2 lzma linecache"
        ),
        FILES,
    ),
    **dict.fromkeys(_words("os posix nt sys platform getpass pwd resource locale fcntl"), MACHINE),
    **dict.fromkeys(
        _words("threading _thread multiprocessing concurrent subprocess asyncio signal queue contextvars"),
        BESIDE,
    ),
    **dict.fromkeys(
        _words(
            "gc weakref inspect ctypes cffi importlib imp pkgutil builtins runpy code codeop types "
            "traceback ast dis atexit faulthandler numba tracemalloc"
        ),
        PYTHON,
    ),
    **dict.fromkeys(("logging", "warnings", "rich"), OUTPUT),
}

# Modules that a strategy may import. Each is served as a copy of its public names.
MODULES_ALLOWED = frozenset(
    _words(
        "__future__ abc array base64 bisect collections collections.abc contextlib copy "
        "dataclasses datetime decimal enum fractions functools hashlib heapq itertools json math "
        "numbers operator re statistics string struct textwrap typing unicodedata zlib engine "
        "numpy numpy.fft numpy.linalg numpy.polynomial numpy.typing msgspec"
    )
)

# Names inside allowed modules that are refused.
NAMES_REFUSED: dict[str, Refusal] = {
    **dict.fromkeys(
        (
            "datetime.datetime.now",
            "datetime.datetime.utcnow",
            "datetime.datetime.today",
            "datetime.date.today",
        ),
        CLOCK,
    ),
    "numpy.random": CHANCE,
    "statistics.NormalDist": CHANCE,
    **dict.fromkeys(
        (
            f"numpy.{name}"
            for name in _words(
                "save savez savez_compressed load loadtxt savetxt genfromtxt fromfile fromregex memmap "
                "DataSource"
            )
        ),
        FILES,
    ),
    **dict.fromkeys(
        (
            f"numpy.{name}"
            for name in _words("core _core lib ctypeslib f2py testing test show_config show_runtime")
        ),
        PYTHON,
    ),
    "numpy.empty": EMPTY,
    "numpy.empty_like": EMPTY,
    "hashlib.file_digest": FILES,
    "operator.attrgetter": PYTHON,
    "operator.methodcaller": PYTHON,
}

BUILTINS_REFUSED: dict[str, Refusal] = {
    "open": FILES,
    "input": MACHINE,
    "id": ADDRESS,
    "hash": ADDRESS,
    **dict.fromkeys(_words("exec eval compile __import__ breakpoint help exit quit"), PYTHON),
}

# Names and attributes that lead out of the strategy's own module.
INNARDS = frozenset(
    _words(
        "__builtins__ __loader__ __spec__ __subclasses__ __globals__ __closure__ __code__ __mro__ "
        "__bases__ __reduce__ __reduce_ex__ __getattribute__ __array_interface__ __array_struct__ "
        "f_globals f_locals f_back f_builtins tb_frame gi_frame gi_code cr_frame ctypes tofile"
    )
)

# Differ in the last bit with the CPU's features, the C library or the number of threads. Allowed, since
# many indicators need them, and written into the run's fingerprint.
CPU_DEPENDENT = frozenset(
    [
        *(
            f"math.{name}"
            for name in _words(
                "acos acosh asin asinh atan atan2 atanh cbrt cos cosh dist erf erfc exp exp2 expm1 gamma "
                "hypot lgamma log log10 log1p log2 pow sin sinh tan tanh"
            )
        ),
        *(
            f"numpy.{name}"
            for name in _words(
                "acos acosh asin asinh atan atan2 atanh arccos arccosh arcsin arcsinh arctan arctan2 "
                "arctanh cbrt cos cosh exp exp2 expm1 float_power hypot log log10 log1p log2 logaddexp "
                "logaddexp2 pow power sin sinc sinh tan tanh convolve corrcoef correlate cov dot einsum "
                "inner matmul polyfit tensordot vdot vecdot matvec vecmat linalg fft polynomial"
            )
        ),
        "statistics.geometric_mean",
    ]
)

# Audit events (a name, or the beginning of one that ends with ".") that the strategy's own code must not
# cause. Clocks, chance and thread starts raise none in Python 3.11; the other layers stand before those.
AUDIT_REFUSED: dict[str, Refusal] = {
    "socket.": NETWORK,
    "ssl.": NETWORK,
    "urllib.": NETWORK,
    "http.client.": NETWORK,
    "ftplib.": NETWORK,
    "smtplib.": NETWORK,
    "open": FILES,
    "shutil.": FILES,
    "tempfile.": FILES,
    "glob.": FILES,
    "pathlib.": FILES,
    "sqlite3.": FILES,
    "mmap.": FILES,
    "os.": MACHINE,
    "pty.": MACHINE,
    "subprocess.": BESIDE,
    "_thread.": BESIDE,
    "_winapi.": BESIDE,
    "signal.": BESIDE,
    "ctypes.": PYTHON,
    "gc.": PYTHON,
    "sys.settrace": PYTHON,
    "sys.setprofile": PYTHON,
    "sys.addaudithook": PYTHON,
    "sys.excepthook": PYTHON,
    "code.": PYTHON,
    "builtins.input": MACHINE,
}


def module_refusal(name: str) -> Refusal | None:
    """Why a module may not be imported, None when it may. Sibling files are the caller's affair."""
    if name in MODULES_ALLOWED:
        return None
    if name in NAMES_REFUSED:
        return NAMES_REFUSED[name]
    top = name.partition(".")[0]
    if top in MODULES_REFUSED:
        return MODULES_REFUSED[top]
    if top == "engine":
        return Refusal("is not meant for strategies", "import the names that stand in engine itself")
    return Refusal(
        "is not among the modules that a strategy may import",
        "import engine, numpy, msgspec, pure standard modules such as math, or a file beside the strategy",
    )


def name_refusal(dotted: str) -> Refusal | None:
    """Why a dotted name may not be used, None when it may; the longest listed beginning decides."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        head = ".".join(parts[:end])
        if head in NAMES_REFUSED:
            return NAMES_REFUSED[head]
        if end == 1 and head in MODULES_REFUSED:
            return MODULES_REFUSED[head]
    return None


def audit_refusal(event: str) -> Refusal | None:
    """Why an audit event is refused, None when it is of no interest."""
    refusal = AUDIT_REFUSED.get(event)
    if refusal is None:
        head, dot, _ = event.partition(".")
        if dot:
            refusal = AUDIT_REFUSED.get(head + dot)
    return refusal
