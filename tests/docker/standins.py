"""Stand-ins for the images of the Docker Hub, made of Debian's packages.

An image that the engine has already, or that a registry gives, is the real one
and is used as it is. Where no registry can be reached, stand-ins take the names
that the Dockerfile and the compose files use: tar files of what the packages
have installed here, a program, what it is linked with, busybox for the rest.
Only what carries the label below is ever replaced or removed.
"""

import concurrent.futures
import functools
import http.server
import io
import ipaddress
import json
import os
import re
import subprocess
import tarfile
import threading
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
LABEL = "visitd.tests.standin"

UNPROVEN = """\
apk: its stand-in unpacks files of Debian packages by the names of Alpine's,
  so that these names, and what Alpine's packages hold, stay unproven
musl with hiredis 1.2 and libpq 16: the Redis and PostgreSQL images are built
  with glibc, hiredis 0.14 and libpq 15 (the file store's with musl)
tzdata: a few zones
redis, postgres, nginx: Debian's programs; the entry points of the official
  images are written anew, with the variables that are used here
Compose v2, buildx and several platforms: command lines only, by a recording
  docker"""


def run(*words, **options):
    """A command that must succeed; its output."""
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


# What is installed here


@functools.cache
def libraries(path):
    """The shared libraries of a program, and its loader."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True,
                          check=False)
    return set(re.findall(r"(?:=> |^\s*)(/\S+) \(", done.stdout, re.M))


def programs(*paths):
    """Programs or libraries, with all that they are linked with."""
    found = set(paths)
    for path in paths:
        found |= libraries(path)
    return found


def package(*names, without=r"/share/(doc|man|lintian|locale)/"):
    """The files of installed packages."""
    listed = run("dpkg", "-L", *names, text=True).splitlines()
    return {path for path in listed
            if os.path.lexists(path) and not os.path.isdir(path)
            and not re.search(without, path)}


def elf_files(paths):
    """Those that are programs or shared libraries."""
    found = []
    for path in paths:
        if os.path.isfile(path):
            with open(path, "rb") as file:
                head = file.read(18)
            if head[:4] == b"\x7fELF" and head[16] in (2, 3):
                found.append(path)
    return found


class Rootfs:
    """A tar file of files from here and of files that are written here."""

    def __init__(self):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w",
                                format=tarfile.PAX_FORMAT)
        self.seen = set()

    def folder(self, path, mode=0o755, owner=0, group=0):
        """A folder; those above it must come first or be plain."""
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.mode = tarfile.DIRTYPE, mode
        info.uid, info.gid = owner, group
        self.tar.addfile(info)

    def text(self, path, text, mode=0o644):
        """A file with that text."""
        data = text.encode()
        info = tarfile.TarInfo(path.strip("/"))
        info.size, info.mode = len(data), mode
        self.tar.addfile(info, io.BytesIO(data))

    def link(self, path, target):
        """A symbolic link."""
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, target
        self.tar.addfile(info)

    def copy(self, paths):
        """Files from here with the links that lead to them. The folders that
        are links into /usr here (/lib) are so there."""
        for path in sorted(paths):
            folder = os.path.realpath(os.path.dirname(path))
            path = os.path.join(folder, os.path.basename(path))
            if path in self.seen:
                continue
            self.seen.add(path)
            info = self.tar.gettarinfo(path, path.strip("/"))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            if info.islnk():  # to one that was perhaps left out
                info.type, info.size = tarfile.REGTYPE, os.path.getsize(path)
            if info.issym():
                self.tar.addfile(info)
                target = os.path.join(folder, os.readlink(path))
                if os.path.isfile(target):
                    self.copy([os.path.normpath(target)])
            else:
                with open(path, "rb") as file:
                    self.tar.addfile(info, file)

    def bytes(self):
        """The tar file."""
        self.tar.close()
        return self.out.getvalue()


def newest(pattern):
    """The installed package with that pattern of a name, the last of them."""
    listed = run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n",
                 pattern, text=True).splitlines()
    names = [line.split()[0] for line in listed if line.endswith(" installed")]
    assert names, f"no package {pattern} is installed: tests/setup docker"
    return max(names, key=lambda name: [
        int(number) for number in re.findall(r"\d+", name)])


def present(name):
    """That package, if it is installed: newer releases split some."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}",
                           name], capture_output=True, text=True, check=False)
    return [name] if done.stdout == "installed" else []


def gcc_version():
    return run("gcc", "-dumpversion", text=True).split(".")[0].strip()


# Images


def base(users=""):
    """Folders, users and busybox: what each image begins with."""
    root = Rootfs()
    for path in ("usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64",
                 "usr/local", "usr/local/bin", "etc", "var", "run", "dev",
                 "proc", "sys", "root"):
        root.folder(path)
    for path in ("tmp", "var/tmp"):
        root.folder(path, 0o1777)
    for path in ("bin", "sbin", "lib", "lib64"):
        root.link(path, "usr/" + path)
    root.link("var/run", "/run")
    root.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
              "nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
              + users.replace("GROUP:", ""))
    root.text("etc/group", "root:x:0:\nnobody:x:65534:\n" + "".join(
        f"{line.split(':')[0]}:x:{line.split(':')[3]}:\n"
        for line in users.splitlines()))
    root.text("etc/standin", "Made of Debian packages by tests/docker.\n")
    busybox = Path("/bin/busybox").resolve().read_bytes()
    info = tarfile.TarInfo("usr/bin/busybox")
    info.size, info.mode = len(busybox), 0o755
    root.tar.addfile(info, io.BytesIO(busybox))
    for name in run("/bin/busybox", "--list", text=True).split():
        if name != "busybox":
            root.link("usr/bin/" + name, "busybox")
    return root


# What Alpine's busybox can and Debian's cannot.
ADDUSER = """\
#!/bin/sh
# adduser -D -u UID NAME
[ "$1$2" = -D-u ] && [ $# -eq 4 ] || exit 1
echo "$4:x:$3:$3::/home/$4:/bin/sh" >>/etc/passwd
echo "$4:x:$3:" >>/etc/group
mkdir -p "/home/$4" && chown "$3:$3" "/home/$4"
"""

APK = """\
#!/bin/sh
# apk add --no-cache NAME...: files of Debian packages, from the tests.
# apk info -q -e NAME: whether it has been added.
set -eu
have=/etc/apk/world
if [ "$1 $2 $3" = "info -q -e" ]; then
	exec grep -qx "$4" "$have"
fi
[ "$1 $2" = "add --no-cache" ]
shift 2
repository=$(cat /etc/apk/repositories)
for name; do
	echo "apk: this is a stand-in; unpacking $name"
	wget -q -O /tmp/apk.tar "$repository/$name.tar" || {
		echo "ERROR: unable to select packages: $name (no such package)" >&2
		exit 1
	}
	tar -x -f /tmp/apk.tar -C /
	rm /tmp/apk.tar
	echo "$name" >>"$have"
done
"""

# The compiler of a musl system, until a library comes that is glibc's here.
CC = """\
#!/bin/sh
if [ -e /usr/include/stdio.h ]; then
	exec x86_64-linux-gnu-gcc-%s "$@"
fi
REALGCC=x86_64-linux-gnu-gcc-%s exec musl-gcc "$@"
"""


def gcc_files():
    """Debian's compiler and linker, without C++, sanitizers and the rest."""
    version = gcc_version()
    files = package(*(name for pattern in (
        f"gcc-{version}", f"cpp-{version}", f"gcc-{version}-x86-64-linux-gnu",
        f"cpp-{version}-x86-64-linux-gnu", f"libgcc-{version}-dev",
        "binutils-x86-64-linux-gnu", "binutils") for name in present(pattern)))
    files = {path for path in files if not re.search(
        r"asan|tsan|ubsan|lsan|itm|gprof|dwp|gold|lto1|lto-wrapper|lto-dump"
        r"|plugin|elfedit|readelf|objdump|gcov", path)}
    return files | programs(*elf_files(files)) | {
        path for path in (
            f"/usr/lib/gcc/x86_64-linux-gnu/{version}/liblto_plugin.so",
            f"/usr/libexec/gcc/x86_64-linux-gnu/{version}/liblto_plugin.so")
        if os.path.exists(path)}


def apk_make(root):
    root.copy(programs(os.path.realpath("/usr/bin/make")))


def apk_gcc(root):
    root.copy(gcc_files())
    root.text("usr/bin/cc", CC % (gcc_version(), gcc_version()), 0o755)


def apk_musl_dev(root):
    files = package("musl", "musl-dev", "musl-tools")
    root.copy(files)


def glibc_dev():
    """The headers and libraries that a program for Debian is built with."""
    return package("libc6-dev", "linux-libc-dev") | programs(
        os.path.realpath("/lib/x86_64-linux-gnu/libm.so.6"))


def apk_hiredis(root):
    root.copy(programs(*elf_files(package(newest("libhiredis[0-9]*")))))


def apk_hiredis_dev(root):
    files = package("libhiredis-dev", newest("libhiredis[0-9]*"))
    root.copy(files | programs(*elf_files(files)) | glibc_dev())


def apk_libpq(root):
    root.copy(programs(*elf_files(package("libpq5"))) | package("libpq5"))


def apk_libpq_dev(root):
    files = package("libpq-dev", "libpq5") - {"/usr/bin/pg_config"}
    root.copy(files | programs(*elf_files(files)) | glibc_dev())
    root.text("usr/bin/pg_config", "#!/bin/sh\n"
              "echo /usr/include/postgresql\n", 0o755)


def apk_tzdata(root):
    """A few zones: each of them is copied and checked again and again."""
    root.copy({path for path in package("tzdata") if re.search(
        r"/zoneinfo/(UTC|Etc/UTC|Europe/\w+|Asia/Kath?mandu|zone.tab)$", path)})


APKS = {"make": apk_make, "gcc": apk_gcc, "musl-dev": apk_musl_dev,
        "hiredis": apk_hiredis, "hiredis-dev": apk_hiredis_dev,
        "libpq": apk_libpq, "libpq-dev": apk_libpq_dev, "tzdata": apk_tzdata}


@functools.cache
def apk_bytes(name):
    """A package of the stand-in for apk."""
    root = Rootfs()
    APKS[name](root)
    return root.bytes()


class Repository(http.server.BaseHTTPRequestHandler):
    """Serves the packages."""

    def do_GET(self):
        name = self.path.strip("/").removesuffix(".tar")
        if name not in APKS:
            self.send_error(404)
            return
        data = apk_bytes(name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass


def alpine(repository):
    root = base()
    root.folder("etc/apk")
    root.text("etc/apk/repositories", repository + "\n")
    root.text("etc/apk/world", "")
    root.text("usr/sbin/apk", APK, 0o755)
    root.text("usr/sbin/adduser", ADDUSER, 0o755)
    return root, ['CMD ["/bin/sh"]']


REDIS_ENTRYPOINT = """\
#!/bin/sh
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
	set -- redis-server "$@"
fi
umask 0077
# The official image is built with another default.
[ "$1" != redis-server ] || set -- "$@" --protected-mode no
exec "$@"
"""


def redis():
    root = base("redis:x:999:1000::/data:/bin/sh\n")
    server = os.path.realpath("/usr/bin/redis-server")
    root.copy(programs(server, "/usr/bin/redis-server", "/usr/bin/redis-cli"))
    root.folder("data", 0o755, 999, 1000)
    root.text("usr/local/bin/docker-entrypoint.sh", REDIS_ENTRYPOINT, 0o755)
    return root, ["VOLUME /data", "WORKDIR /data", "EXPOSE 6379",
                  'ENTRYPOINT ["docker-entrypoint.sh"]',
                  'CMD ["redis-server"]']


POSTGRES_ENTRYPOINT = """\
#!/bin/sh
set -eu
[ "${1-}" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
	echo "the stand-in takes user: postgres" >&2
	exit 1
fi
if [ -n "${POSTGRES_PASSWORD_FILE-}" ]; then
	POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
fi
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	if [ -z "${POSTGRES_PASSWORD-}" ]; then
		echo "Error: Database is uninitialized and superuser password is not" \\
			"specified." >&2
		exit 1
	fi
	printf '%s\\n' "$POSTGRES_PASSWORD" >/tmp/password
	initdb --encoding=UTF8 --username="$POSTGRES_USER" \\
		--pwfile=/tmp/password --no-sync \\
		--auth-host=scram-sha-256 --auth-local=trust
	rm /tmp/password
	echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
	pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
	if [ "$POSTGRES_DB" != postgres ]; then
		psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres \\
			-c "CREATE DATABASE \\"$POSTGRES_DB\\""
	fi
	for file in /docker-entrypoint-initdb.d/*.sql; do
		[ ! -e "$file" ] || psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" \\
			-d "$POSTGRES_DB" -f "$file"
	done
	pg_ctl -D "$PGDATA" -m fast -w stop
	echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@"
"""


def postgres():
    root = base("postgres:x:70:70::/var/lib/postgresql:/bin/sh\n")
    version = newest("postgresql-[0-9]*").rsplit("-", 1)[1]
    files = {path for path in package(f"postgresql-{version}",
                                      f"postgresql-client-{version}")
             if not re.search(r"bitcode|llvmjit|/extension/|/pgxs/", path)
             or re.search(r"plpgsql", path)}
    files |= {path for path in package("tzdata") if "/right/" not in path}
    root.copy(files | programs(*elf_files(files)))
    for name in ("postgres", "initdb", "pg_ctl", "psql", "pg_isready",
                 "pg_dump", "createdb"):
        root.link("usr/local/bin/" + name,
                  f"/usr/lib/postgresql/{version}/bin/{name}")
    # What Debian's psql shows results by when it does not know the height of a
    # terminal; Alpine's takes more.
    root.text("usr/bin/pager", "#!/bin/sh\nexec more\n", 0o755)
    root.folder("var/lib")
    root.folder("var/lib/postgresql", 0o1777, 70, 70)
    root.folder("var/lib/postgresql/data", 0o1777, 70, 70)
    root.folder("run/postgresql", 0o3777, 70, 70)
    root.text("usr/local/bin/docker-entrypoint.sh", POSTGRES_ENTRYPOINT, 0o755)
    return root, ["VOLUME /var/lib/postgresql/data", "EXPOSE 5432",
                  "ENV PGDATA=/var/lib/postgresql/data",
                  "STOPSIGNAL SIGINT", 'ENTRYPOINT ["docker-entrypoint.sh"]',
                  'CMD ["postgres", "-c", "listen_addresses=*",'
                  ' "-c", "unix_socket_directories=/var/run/postgresql"]']


NGINX_ENTRYPOINT = """\
#!/bin/sh
set -e
if [ "$1" = nginx ]; then
	for script in /docker-entrypoint.d/*.sh; do
		[ ! -x "$script" ] || "$script"
	done
fi
exec "$@"
"""


def nginx():
    root = base("nginx:x:101:101::/nonexistent:/sbin/nologin\n")
    root.copy(programs("/usr/sbin/nginx", "/usr/bin/openssl"))
    root.copy({"/etc/nginx/mime.types", "/usr/lib/ssl/openssl.cnf"})
    root.folder("etc/nginx/conf.d")
    root.folder("docker-entrypoint.d")
    root.folder("var/log")
    root.folder("var/log/nginx", 0o755, 101, 101)
    root.folder("var/lib")
    root.folder("var/lib/nginx", 0o755, 101, 101)
    root.link("var/log/nginx/error.log", "/dev/stderr")
    root.link("var/log/nginx/access.log", "/dev/stdout")
    root.text("docker-entrypoint.sh", NGINX_ENTRYPOINT, 0o755)
    return root, ["EXPOSE 80", "STOPSIGNAL SIGQUIT",
                  'ENTRYPOINT ["/docker-entrypoint.sh"]',
                  'CMD ["nginx", "-g", "daemon off;"]']


def tags():
    """The images that the shipped files name, and who stands in for them."""
    dockerfile = (REPO / "Dockerfile").read_text()
    release = re.search(r"^ARG ALPINE=(\S+)", dockerfile, re.M).group(1)
    found = {"alpine:" + release: alpine}
    for file in sorted((REPO / "deploy").glob("*/docker-compose.yml")):
        for name, tag in re.findall(r"^\s+image: (redis|postgres|nginx)(:\S+)",
                                    file.read_text(), re.M):
            found[name + tag] = {"redis": redis, "postgres": postgres,
                                 "nginx": nginx}[name]
    return found


def inspect(tag, template):
    """What docker says of an image; None if there is none."""
    done = subprocess.run(["docker", "image", "inspect", "-f", template, tag],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def gateway():
    """The address of this machine for containers that are built."""
    config = json.loads(run("docker", "network", "inspect", "bridge", "-f",
                            "{{json (index .IPAM.Config 0)}}"))
    subnet = ipaddress.ip_network(config["Subnet"])
    return config.get("Gateway") or str(next(subnet.hosts()))


def pull(tags):
    """Whether a registry can be reached, and gave all of these."""
    def pulled(tag, within):
        try:
            return subprocess.run(["docker", "pull", "-q", tag],
                                  capture_output=True, timeout=within,
                                  check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False
    return pulled(tags[0], 30) and all(pulled(tag, 300) for tag in tags[1:])


class StandIns:
    """The images, for as long as the context lasts: those of this engine, or
    of a registry, or stand-ins."""

    def __init__(self):
        self.made = []
        self.real = []
        self.server = http.server.ThreadingHTTPServer((gateway(), 0),
                                                      Repository)
        self.repository = "http://%s:%d" % self.server.server_address[:2]
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def __enter__(self):
        wanted = tags()
        for tag in wanted:
            label = inspect(tag, '{{index .Config.Labels "%s"}}' % LABEL)
            if label is not None and label != "yes":
                self.real.append(tag)
        lacking = [tag for tag in wanted if tag not in self.real]
        if lacking and pull(lacking):
            self.real += lacking
            lacking = []
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda tag: self.make(tag, wanted[tag]), lacking))
        return self

    def make(self, tag, maker):
        """Import one image."""
        root, changes = (maker(self.repository) if maker is alpine
                         else maker())
        files = run("docker", "import", "-", input=root.bytes())
        lines = [f"FROM {files.decode().strip()}", f"LABEL {LABEL}=yes",
                 "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
                 ":/sbin:/bin", *changes]
        run("docker", "build", "-q", "-t", tag, "-",
            input="\n".join(lines).encode())
        self.made.append(tag)

    def __exit__(self, *exception):
        self.server.shutdown()
        for tag in self.made:
            subprocess.run(["docker", "rmi", tag], capture_output=True,
                           check=False)

    def report(self):
        """What is proven by them, and what is not."""
        lines = [f"stand-in made of Debian packages: {tag}"
                 for tag in self.made]
        lines += [f"image of this engine: {tag}" for tag in self.real]
        if self.made:
            lines += ["unproven by the stand-ins:",
                      *("  " + line for line in UNPROVEN.splitlines())]
        return "\n".join(lines)


if __name__ == "__main__":
    # By hand: makes them, serves apk until its input ends, removes them.
    import sys
    import time
    begin = time.monotonic()
    with StandIns() as images:
        print(images.report(), f"{time.monotonic() - begin:.1f} s", flush=True)
        sys.stdin.read()
