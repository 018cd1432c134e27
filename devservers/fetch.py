"""Download a server's Debian packages into a folder with apt, without changing the system.

apt gets its own state, cache and list of installed packages. The list is empty, so apt downloads
every library that the server needs, including libc. The packages are unpacked, not installed, which
does not need root. A server may come from a newer Debian release than the machine's, because it
runs with its own C library and loader.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devservers.errors import ServerUnavailable

APT = Path("/etc/apt")
# Names of suites in the main Debian archive, in addition to the machine's codename.
SUITES = {"stable", "testing", "unstable", "sid"}

# The hooks are cleared because those of a container image empty the system's package cache. The
# sandbox user is root because apt's own user often cannot enter the folder of a checkout.
CONFIG = """
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""

WRAPPER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec "$here/{loader}" --library-path "{libraries}" "$here/{program}" "$@"
"""


@dataclass(frozen=True)
class Package:
    """The Debian package of one server, and its programs."""

    server: str
    package: str
    programs: tuple[str, ...]  # glob patterns inside the unpacked tree
    unstable: bool = False  # from Debian unstable instead of the machine's own release


def fetched(package: Package) -> Path:
    """Return the folder with the unpacked package. Download it if it is missing or incomplete."""
    cache = cache_folder()
    tree, marker = cache / package.server, cache / package.server / "complete"
    if is_complete(marker, package):  # without the lock, which needs a writable cache
        return tree
    try:
        with locked(cache, package.server):
            if not is_complete(marker, package):  # another process may have finished it
                make(package, tree)
    except OSError as error:
        raise ServerUnavailable(f"{package.server} cannot be downloaded: {error}") from error
    return tree


def cache_folder() -> Path:
    """Return the folder that DEVSERVERS_CACHE names, by default `.servers` in the repository."""
    default = Path(__file__).resolve().parent.parent / ".servers"
    return Path(os.environ.get("DEVSERVERS_CACHE") or default).absolute()


def is_complete(marker: Path, package: Package) -> bool:
    """Return whether the folder is complete and was made from the same definition."""
    return marker.is_file() and marker.read_text() == repr(package)


@contextmanager
def locked(cache: Path, server: str) -> Iterator[None]:
    """Let one process at a time continue. The kernel releases the lock of a killed process."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    with (cache / f"{server}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(package: Package, tree: Path) -> None:
    """Unpack the package in a temporary folder, and move the folder when it is complete.

    The folder is new each time, because an apt-get of an interrupted download may still write into
    the previous one.
    """
    for abandoned in tree.parent.glob(f"{tree.name}-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f"{tree.name}-", dir=tree.parent))
    try:
        building.chmod(0o755)  # PostgreSQL will run from it as another user
        download_and_unpack(package, building)
        (building / "complete").write_text(repr(package))
        shutil.rmtree(tree, ignore_errors=True)
        building.rename(tree)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def download_and_unpack(package: Package, tree: Path) -> None:
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise ServerUnavailable(
                f"{package.server} is not installed and cannot be downloaded: {tool} is missing."
            )
    work = tree / "apt"
    for debian_package in download(package, work):
        subprocess.run(["dpkg", "-x", debian_package, tree], check=True, capture_output=True)
    shutil.rmtree(work)
    for pattern in package.programs:
        wrap(tree, next(tree.glob(pattern)))


def download(package: Package, work: Path) -> list[Path]:
    """Download the package and all of its dependencies, and return their files."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    config = CONFIG.format(work=work)
    if package.unstable:
        source = work / "unstable.sources"
        source.write_text(unstable_source(package.server))
        config += f'Dir::Etc::sourcelist "{source}";\nDir::Etc::sourceparts "/dev/null";\n'
    (work / "config").write_text(config)
    update = apt_get(work, "update")
    install = apt_get(work, "-y", "--download-only", "install", package.package)
    if install.returncode != 0:
        # If the update failed too, its error is the cause of the missing package.
        reason = (update.stderr or install.stderr).strip().partition("\n")[0]
        raise ServerUnavailable(
            f"{package.server} is not installed and apt cannot download {package.package}: {reason}"
        )
    return sorted((work / "cache/archives").glob("*.deb"))


def apt_get(work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get, which may fail. A broken source makes `update` fail but may be irrelevant."""
    return subprocess.run(
        ["apt-get", "-q", "-c", str(work / "config"), *arguments],
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def unstable_source(server: str) -> str:
    """Return the machine's Debian source with the suite unstable, and the same mirror and keys."""
    system = platform.freedesktop_os_release()
    if system.get("ID") == "debian":
        suites = SUITES | {system.get("VERSION_CODENAME", "")}
        for path in [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]:
            readable = path.suffix in {".list", ".sources"} and path.is_file()
            if readable and (source := replaced_suite(path, suites)):
                return source
    raise ServerUnavailable(
        f"{server} is not installed and must be downloaded from Debian unstable,"
        " but this machine has no apt source for Debian."
    )


def replaced_suite(path: Path, suites: set[str]) -> str | None:
    """Return the first entry of a source file for one of these suites, changed to unstable."""
    text = re.sub(r"^#.*\n?", "", path.read_text(), flags=re.MULTILINE)
    if path.suffix == ".list":
        entries = [one_line_as_stanza(line) for line in text.splitlines()]
    else:
        entries = re.split(r"\n\s*\n", text)
    for entry in entries:
        served = re.search(r"(?mi)^Suites:(.*)$", entry)
        disabled = re.search(r"(?mi)^Enabled:\s*no", entry)
        if served and not disabled and suites & set(served[1].split()):
            entry = re.sub(r"(?mi)^(Suites|Components|Types):.*\n?", "", entry.strip() + "\n")
            return f"{entry}Types: deb\nSuites: sid\nComponents: main\n"
    return None


def one_line_as_stanza(line: str) -> str:
    """Return a `deb [signed-by=KEY] URI SUITE …` line in the multi-line format."""
    match = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)", line.strip())
    if match is None:
        return ""
    options, address, suite = match.groups()
    key = re.search(r"signed-by=(\S+)", options or "", re.IGNORECASE)
    signed = f"Signed-By: {key[1]}\n" if key else ""
    return f"URIs: {address}\nSuites: {suite}\n{signed}"


def wrap(tree: Path, program: Path) -> None:
    """Replace a program by a script that runs it with the loader and libraries of the tree.

    The script has the program's path, because some programs start others from their own folder, as
    PostgreSQL's initdb does. Its paths are relative, so that the tree can be moved.
    """
    loader = next(found for found in tree.glob("**/ld-linux-*.so.*") if not found.is_symlink())
    machine = loader.parent.name  # such as x86_64-linux-gnu
    real = program.with_name(program.name + ".real")
    program.rename(real)
    up = os.path.relpath(tree, program.parent)
    libraries = ":".join(f"$here/{up}/{folder}/{machine}" for folder in ("lib", "usr/lib"))
    script = WRAPPER.format(
        loader=f"{up}/{loader.relative_to(tree)}", libraries=libraries, program=real.name
    )
    program.write_text(script)
    program.chmod(0o755)
