"""Functions marked hot touch no Python: what `cython -a` colours in them must be told, for one of a few reasons.

    # hot
    cdef int answer(self, …) noexcept nogil:

A line of such a function that touches Python is an error, unless it ends with `# python: REASON` for a reason of
REASONS; so is a told line that touches nothing, and a reason that is not on the list. The generated C is read, by
the pattern that `cython -a` itself colours lines with.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from Cython.Compiler import Annotate
from Cython.Compiler.Main import CompilationOptions, compile_single

ROOT = Path(__file__).parent.parent
REASONS = {
    "callback": "asyncio's protocol methods and timers are Python's",
    "ownership": "a reference is held so that memory lives as long as it is read",
    "transport": "the socket is full, or this is TLS: the transport takes the rest",
    "handover": "the request, or what is not whole yet, leaves the hot path here",
    "ending": "the connection ends here, or the request is refused",
}
TOLD = re.compile(r"# python: ([a-z]+)\s*$")
TOUCHES = re.compile(
    r"\b(?:__Pyx_[A-Z][A-Z_]+|__Pyx_[A-Z][a-z_][A-Za-z_]*|__pyx_convert_[A-Za-z_]*|Py[A-Z][a-z]+_[A-Z][A-Za-z_]+)"
    r"(?=\()"
)
# Reference counting aids of debug builds, branch hints and pointer macros are no work.
HARMLESS = re.compile(
    r"__Pyx_X?(?:GOT|GIVE)REF|__Pyx_RefNanny|__Pyx_Trace|Py(?:Bytes|ByteArray)_(?:AS_STRING|GET_SIZE)|__Pyx_PyBytes_As"
)


def functions(lines: list[str]) -> Iterator[tuple[int, int]]:
    """First and last line (from 1) of each function below a `# hot` comment."""
    for index, line in enumerate(lines):
        if line.strip() != "# hot":
            continue
        indent = len(line) - len(line.lstrip())
        end = start = index + 1
        for number in range(start + 1, len(lines)):
            text = lines[number]
            if (
                text.strip()
                and len(text) - len(text.lstrip()) <= indent
                and not text.lstrip().startswith(")")
            ):
                break
            if text.strip():
                end = number
        yield start + 1, end + 1


def after_signature(lines: list[str], first: int) -> int:
    """The line behind a function's signature, whose own code is what the call and the end of any function need."""
    while not lines[first - 1].partition("  #")[0].rstrip().endswith(":"):
        first += 1
    return first + 1


def generated(module: Path) -> dict[str, dict[int, str]]:
    """The C code of each source line, by file; included files too."""
    found: dict[str, dict[int, str]] = {}

    def keep(self: Annotate.AnnotationCCodeWriter, *_args: object, **_kwargs: object) -> None:
        self.mark_pos(None)
        for name, code in self.code.items():
            if name is not None:
                found.setdefault(str(Path(name).resolve()), {}).update(code)

    original = Annotate.AnnotationCCodeWriter.save_annotation
    Annotate.AnnotationCCodeWriter.save_annotation = keep
    try:
        with tempfile.TemporaryDirectory() as folder:
            options = CompilationOptions(
                annotate=True,
                output_file=f"{folder}/out.c",
                compiler_directives=directives(),
                language_level=3,
            )
            full_name = (
                ".".join(module.relative_to(ROOT).with_suffix("").parts)
                if module.is_relative_to(ROOT)
                else None
            )
            result = compile_single(str(module), options, full_module_name=full_name)
            if result.num_errors:
                sys.exit(f"check_hot: {module} does not compile")
    finally:
        Annotate.AnnotationCCodeWriter.save_annotation = original
    return found


def shown(path: Path) -> str:
    """As a reader of this repository names it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def directives() -> dict[str, bool]:
    """Those of setup.py: they decide what is generated."""
    text = (ROOT / "setup.py").read_text()
    return {name: word == "True" for name, word in re.findall(r'"(\w+)": (True|False)', text)}


def modules() -> list[Path]:
    """What setup.py builds."""
    return [
        ROOT / path
        for path in re.findall(r'"cdn[\w.]*": "(cdn/[\w/]+\.pyx)"', (ROOT / "setup.py").read_text())
    ]


def sources(module: Path) -> list[Path]:
    """The module and what it includes."""
    names = re.findall(r'^include "([^"]+)"', module.read_text(), re.MULTILINE)
    return [module, *(module.parent / name for name in names)]


def check(found: list[Path]) -> list[str]:
    """What is wrong in these modules, a sentence each."""
    problems: list[str] = []
    marked = 0
    for module in found:
        hot = {path: list(functions(path.read_text().splitlines())) for path in sources(module)}
        if not any(hot.values()):
            continue
        code = generated(module)
        for path, spans in hot.items():
            lines = path.read_text().splitlines()
            marked += len(spans)
            for first, last in spans:
                for number in range(after_signature(lines, first), last + 1):
                    problem = judge(lines[number - 1], code.get(str(path.resolve()), {}).get(number, ""))
                    if problem:
                        problems.append(f"{shown(path)}:{number}: {problem}: {lines[number - 1].strip()}")
    if not marked:
        problems.append("no function is marked hot: something is wrong with this check")
    return problems


def judge(line: str, c: str) -> str | None:
    code = re.sub(r"/\*.*?\*/", "", c, flags=re.DOTALL)
    touches = [name for name in TOUCHES.findall(code) if not HARMLESS.match(name)]
    told = TOLD.search(line)
    if told and told[1] not in REASONS:
        return f"{told[1]} is none of the reasons ({', '.join(REASONS)})"
    if touches and not told:
        return f"touches Python ({', '.join(sorted(set(touches))[:3])})"
    if told and not touches:
        return "is told to touch Python and does not"
    return None


if __name__ == "__main__":
    sentences = check([Path(name).resolve() for name in sys.argv[1:]] or modules())
    for sentence in sentences:
        print(sentence)
    sys.exit(1 if sentences else 0)
