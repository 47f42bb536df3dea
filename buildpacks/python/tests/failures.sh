# What can go wrong, and whether the user is told what to do.

# NAME TITLE: the build of SOURCE, without a network, fails with TITLE.
fails() {
  OPTIONS=(--network none)
  build
  status_is 1
  says " !     $1"
}

# These fail before anything is installed.
if begin failure-no-manager; then
  echo '[project]' >"$SOURCE/pyproject.toml"
  fails "No package manager's file was found"
  says "uv lock"
fi

if begin failure-several-managers; then
  touch "$SOURCE"/{requirements.txt,poetry.lock}
  fails "Several package managers' files found: requirements.txt (pip), poetry.lock (poetry)"
fi

if begin failure-pipfile; then
  touch "$SOURCE/Pipfile"
  fails "No Pipfile.lock was found"
fi

if begin failure-version-form; then
  touch "$SOURCE/requirements.txt"
  echo "python3" >"$SOURCE/.python-version"
  fails "Invalid Python version in .python-version"
  printf '3.13\n3.12\n' >"$SOURCE/.python-version"
  fails "Several versions in .python-version"
  printf '# 3.13\n\n' >"$SOURCE/.python-version"
  fails "No version in .python-version"
  echo 3.13 >"$SOURCE/runtime.txt"
  fails "Invalid Python version in runtime.txt"
fi

if begin failure-pre-compile; then
  touch "$SOURCE/requirements.txt"
  mkdir "$SOURCE/bin"
  printf '#!/bin/sh\necho here\nexit 3\n' >"$SOURCE/bin/pre_compile"
  fails "Failed to run the bin/pre_compile script"
  says "       here"
fi

if begin failure-package flask; then
  seed
  echo "flask==3.1.99" >"$SOURCE/requirements.txt"
  build
  status_is 1
  says "Build failed: a package or its version does not exist"
fi

if begin failure-native; then
  seed
  mkdir -p "$SOURCE/native"
  printf 'from setuptools import setup, Extension\nsetup(name="native", ext_modules=[%s])\n' \
    'Extension("native", ["native.c"])' >"$SOURCE/native/setup.py"
  echo '#include <no-such-header.h>' >"$SOURCE/native/native.c"
  echo ./native >"$SOURCE/requirements.txt"
  build
  status_is 1
  says "Build failed: a package could not be compiled"
  # Headers of Python are found.
  cat >"$SOURCE/native/native.c" <<'C'
#include <Python.h>
static struct PyModuleDef module = { PyModuleDef_HEAD_INIT, "native", 0, -1 };
PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
C
  build
  status_is 0
  store
  [[ $(dyno "python -c 'import native; print(native.__name__, 7)'") == *"native 7"* ]] && ok \
    || bad "the compiled module is not there"
fi
