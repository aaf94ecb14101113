import { ERRNO, NUMBERS } from "./numbers.ts";

/** The same for Python: `sys(name, *args)`, `make_calls(calls, t)`, `run_machine_code(hex)`. */
export const PYTHON_KIT = `
import ctypes, json, os, platform, re, struct, sys as system
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = json.loads('${JSON.stringify(NUMBERS)}')
ERRNO = json.loads('${JSON.stringify(ERRNO)}')
COLUMN = 1 if platform.machine() == "aarch64" else 0
KEPT = []

class Target:
    def __init__(self, fields):
        self.__dict__.update(fields)

def raw(number, *args):
    LIBC.syscall.restype = ctypes.c_long
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    return -ctypes.get_errno() if result == -1 else result

def sys(name, *args):
    number = NUMBERS[name][COLUMN]
    if number < 0:
        raise OSError(f"no {name} on this architecture")
    result = raw(number, *args)
    if -4096 < result < 0:
        raise OSError(f"{name}: {ERRNO.get(str(-result), 'errno %d' % -result)}")
    return result

def at(data):
    buffer = ctypes.create_string_buffer(bytes(data), max(len(data), 1))
    KEPT.append(buffer)
    return ctypes.addressof(buffer)

def text(value):
    return at(value.encode() + b"\\0")

def vector(values):
    return at(struct.pack("<%dQ" % (len(values) + 1), *[text(v) for v in values], 0))

def fill(template, t):
    return re.sub(r"\\$([a-zA-Z]+)", lambda m: str(getattr(t, m.group(1), m.group(0))), template)

def address(kind, t):
    if kind in ("tcp", "udp"):
        return struct.pack("<H", 2) + struct.pack(">H", getattr(t, kind)) + bytes([127, 0, 0, 1]) + bytes(8)
    path = t.unix.encode() if kind == "unix" else b"\\0" + t.abstract.encode()
    return (struct.pack("<H", 1) + path).ljust(110, b"\\0")

def value_of(arg, t, results):
    if isinstance(arg, int):
        return arg
    if isinstance(arg, str):
        return text(fill(arg, t))
    kind, value = next(iter(arg.items()))
    inner = lambda: [value_of(item, t, results) for item in value]
    return {
        "of": lambda: getattr(t, value),
        "self": lambda: os.getpid() if value == "pid" else os.getuid(),
        "result": lambda: results[value],
        "zero": lambda: at(bytes(value)),
        "hex": lambda: at(bytes.fromhex(value)),
        "text": lambda: at(fill(value, t).encode().ljust(64, b"\\0")),
        "u32": lambda: at(struct.pack("<%dI" % len(value), *[x & 0xffffffff for x in inner()])),
        "u64": lambda: at(struct.pack("<%dQ" % len(value), *[x & 0xffffffffffffffff for x in inner()])),
        "address": lambda: at(address(value, t)),
    }[kind]()

def make_calls(calls, t):
    results = []
    for step in calls:
        results.append(sys(step["call"], *[value_of(arg, t, results) for arg in step["args"]]))
    return results[-1]

def run_machine_code(code):
    import mmap
    memory = mmap.mmap(-1, 4096, prot=7)
    KEPT.append(memory)
    memory.write(bytes.fromhex(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
`;
