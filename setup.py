"""Builds the extension modules; everything else about the project is in pyproject.toml.

CDN_ONLY="cdn._core cdn.proxy._lane" builds only those modules (while working on one).
CDN_ANNOTATE=1 writes the cython -a page beside each source.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = {
    "cdn._core": "cdn/_core.pyx",
    "cdn.store._memory": "cdn/store/_memory.pyx",
    "cdn.store.disk._crc": "cdn/store/disk/_crc.pyx",
    "cdn.store.disk._table": "cdn/store/disk/_table.pyx",
    "cdn.store._journal": "cdn/store/_journal.pyx",
    "cdn.proxy._clock": "cdn/proxy/_clock.pyx",
    "cdn.proxy._routes": "cdn/proxy/_routes.pyx",
    "cdn.proxy._variants": "cdn/proxy/_variants.pyx",
    "cdn.proxy._words": "cdn/proxy/_words.pyx",
    "cdn.proxy._log": "cdn/proxy/_log.pyx",
    "cdn.proxy._front": "cdn/proxy/_front.pyx",
    "cdn.proxy._lane": "cdn/proxy/_lane.pyx",
    "cdn.proxy._fill": "cdn/proxy/_fill.pyx",
    "cdn.tier._wire": "cdn/tier/_wire.pyx",
    "cdn.tier._standing": "cdn/tier/_standing.pyx",
    "cdn.control._spool": "cdn/control/_spool.pyx",
}

wanted = os.environ.get("CDN_ONLY", "").split() or list(MODULES)
extensions = [
    Extension(
        name,
        [MODULES[name]],
        extra_compile_args=["-O3", "-fno-semantic-interposition", "-Wno-unused-function"],
    )
    for name in wanted
    if os.path.exists(MODULES.get(name, ""))
]

setup(
    ext_modules=cythonize(
        extensions,
        annotate=bool(os.environ.get("CDN_ANNOTATE")),
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": False,
        },
    ),
)
